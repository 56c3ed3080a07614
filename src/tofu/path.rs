//! Attribute paths: where in a value something is.

use std::fmt;

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// An attribute or a block of an object.
    Attribute(String),
    /// An element of a list.
    Index(usize),
    /// An element of a map.
    Key(String),
}

impl Step {
    /// The attribute's name or the map's key.
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Step::Attribute(name) | Step::Key(name) => Some(name),
            Step::Index(_) => None,
        }
    }
}

/// A path from the resource's root, printed as in HCL: `template[0].requirement[1].key`, `limits["cpu"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The resource itself.
    pub fn root() -> Self {
        Path::default()
    }

    /// The path of a top-level attribute.
    pub fn attribute(name: impl Into<String>) -> Self {
        Path(vec![Step::Attribute(name.into())])
    }

    /// This path and an attribute below it.
    #[must_use]
    pub fn child(&self, name: impl Into<String>) -> Self {
        self.with(Step::Attribute(name.into()))
    }

    /// This path and a list element below it.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// This path and a map element below it.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Step::Key(key.into()))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Path(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Attribute(name) if i == 0 => write!(f, "{name}")?,
                Step::Attribute(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}
