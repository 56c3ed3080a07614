//! Values while templates run: maps are shared by reference, since Karpenter's `patchAffinity` sets keys deep inside `.Values`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Number, Value};

use crate::helm::yaml;

/// A map that several names may refer to.
pub type Shared = Rc<RefCell<BTreeMap<String, Val>>>;

/// Nested deeper than this, a value is taken for one that contains itself.
const MAX_DEPTH: usize = 100;

/// What an expression yields.
#[derive(Clone, Debug)]
pub enum Val {
    /// `nil`, or a key that is absent.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer: a literal in a template or what a function counts; values from YAML are floats.
    Int(i64),
    /// A number from YAML.
    Float(f64),
    /// A string.
    Str(Rc<str>),
    /// A list; functions make new ones.
    List(Rc<Vec<Val>>),
    /// A map.
    Map(Shared),
    /// One of Helm's Go structs.
    Struct(Rc<Struct>),
}

/// A Go struct: unlike a map, it refuses fields that it has not.
#[derive(Debug)]
pub struct Struct {
    /// Go's name of the type, for errors.
    pub type_name: &'static str,
    /// Its fields.
    pub fields: BTreeMap<&'static str, Val>,
    /// How it prints, where it does.
    pub text: Option<String>,
    /// The method `Has` of `.Capabilities.APIVersions`.
    pub api_versions: Option<ApiVersions>,
}

/// Which API versions are served, and which unknown ones templates asked about.
#[derive(Debug)]
pub struct ApiVersions {
    /// Known to be served.
    pub served: std::collections::BTreeSet<String>,
    /// Asked about, and not among them.
    pub asked: Rc<RefCell<Vec<String>>>,
}

impl ApiVersions {
    /// Is it served, as far as known? An unknown one is noted.
    pub fn has(&self, version: &str) -> bool {
        let found = self.served.contains(version);
        if !found {
            self.asked.borrow_mut().push(version.to_owned());
        }
        found
    }
}

impl Val {
    /// A string.
    pub fn str(text: impl AsRef<str>) -> Val {
        Val::Str(Rc::from(text.as_ref()))
    }

    /// A map that nothing else refers to.
    pub fn map(entries: impl IntoIterator<Item = (String, Val)>) -> Val {
        Val::Map(Rc::new(RefCell::new(entries.into_iter().collect())))
    }

    /// A list.
    pub fn list(items: Vec<Val>) -> Val {
        Val::List(Rc::new(items))
    }

    /// JSON, every number a float as Helm has it.
    pub fn from_json(value: &Value) -> Val {
        match value {
            Value::Null => Val::Nil,
            Value::Bool(b) => Val::Bool(*b),
            Value::Number(n) => Val::Float(n.as_f64().unwrap_or_default()),
            Value::String(s) => Val::str(s),
            Value::Array(list) => Val::list(list.iter().map(Val::from_json).collect()),
            Value::Object(map) => Val::map(map.iter().map(|(k, v)| (k.clone(), Val::from_json(v)))),
        }
    }

    /// As JSON; an error for a struct, and for a value that contains itself.
    pub fn to_json(&self) -> Result<Value, String> {
        self.json_at(0)
    }

    fn json_at(&self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        Ok(match self {
            Val::Nil => Value::Null,
            Val::Bool(b) => Value::Bool(*b),
            Val::Int(i) => Value::Number(Number::from(*i)),
            Val::Float(f) => yaml::number(*f),
            Val::Str(s) => Value::String(s.to_string()),
            Val::List(list) => Value::Array(list.iter().map(|v| v.json_at(depth + 1)).collect::<Result<_, _>>()?),
            Val::Map(map) => {
                let map = map.borrow();
                Value::Object(map.iter().map(|(k, v)| Ok((k.clone(), v.json_at(depth + 1)?))).collect::<Result<_, String>>()?)
            }
            Val::Struct(s) => return Err(format!("a {} cannot be written as YAML or JSON", s.type_name)),
        })
    }

    /// Go's truth, which is also what sprig calls "not empty".
    pub fn truth(&self) -> bool {
        match self {
            Val::Nil => false,
            Val::Bool(b) => *b,
            Val::Int(i) => *i != 0,
            Val::Float(f) => *f != 0.0,
            Val::Str(s) => !s.is_empty(),
            Val::List(list) => !list.is_empty(),
            Val::Map(map) => !map.borrow().is_empty(),
            Val::Struct(_) => true,
        }
    }

    /// Go's name of the type, for errors and `%!d(float64=1)`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Val::Nil => "<nil>",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Float(_) => "float64",
            Val::Str(_) => "string",
            Val::List(_) => "[]interface {}",
            Val::Map(_) => "map[string]interface {}",
            Val::Struct(s) => s.type_name,
        }
    }

    /// Go's name of the kind, as `kindOf` says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Val::Nil => "invalid",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Float(_) => "float64",
            Val::Str(_) => "string",
            Val::List(_) => "slice",
            Val::Map(_) => "map",
            Val::Struct(_) => "struct",
        }
    }

    /// One field; the error is Go's.
    pub fn field(&self, name: &str) -> Result<Val, String> {
        match self {
            Val::Map(map) => Ok(map.borrow().get(name).cloned().unwrap_or(Val::Nil)),
            Val::Struct(s) => {
                let missing = || format!("can't evaluate field {name} in type {} (or it is not supported here)", s.type_name);
                s.fields.get(name).cloned().ok_or_else(missing)
            }
            Val::Nil => Err(format!("nil pointer evaluating interface {{}}.{name}")),
            Val::Bool(_) | Val::Int(_) | Val::Float(_) | Val::Str(_) | Val::List(_) => {
                Err(format!("can't evaluate field {name} in type interface {{}}"))
            }
        }
    }
}
