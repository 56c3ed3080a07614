// Runs many commands of helm 4 in one process, since most of what a short one costs is its start.
//
// stdin: a JSON list of commands, each a list of arguments without "helm". stdout: a JSON list as long, of {"out", "error"}; error is ""
// for a command that succeeds. Each command adds an initializer that all later ones run too: give it tens, not thousands.
package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"os"

	"helm.sh/helm/v4/pkg/cmd"
)

type answer struct {
	Out   string `json:"out"`
	Error string `json:"error"`
}

func run(arguments []string) answer {
	var out bytes.Buffer
	command, err := cmd.NewRootCmd(&out, arguments, func(bool) { slog.SetDefault(slog.New(slog.DiscardHandler)) })
	if err == nil {
		command.SetArgs(arguments)
		command.SetErr(io.Discard)
		err = command.Execute()
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Out: out.String()}
}

func main() {
	var commands [][]string
	if err := json.NewDecoder(os.Stdin).Decode(&commands); err != nil {
		log.Fatal(err)
	}
	answers := make([]answer, 0, len(commands))
	for _, arguments := range commands {
		answers = append(answers, run(arguments))
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}
