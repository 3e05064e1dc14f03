//! Who says what: defaults, files and the environment, the later ones over the earlier.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use containers::devices::Recipes;
use images::uri::without_userinfo;
use linux::environ::Environ;

use super::error::SettingsError;
use super::table::{Id, SETTINGS, Setting};
use super::value::Value;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The variable of the setting.
    Environment,
    /// A line of a file, from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Nobody set it.
    Default,
}

/// What one source says.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    values: Vec<(usize, Value, Origin)>,
    file: Option<PathBuf>,
    recipes: Recipes,
}

impl Layer {
    /// A layer without a value yet, of a file.
    pub(super) fn of_file(path: &Path) -> Layer {
        Layer { file: Some(path.to_owned()), ..Layer::default() }
    }

    /// The values of the environment's variables. An empty one says nothing.
    ///
    /// # Errors
    /// [`SettingsError::Variable`].
    pub(super) fn of_environment(environ: &Environ) -> Result<Layer, SettingsError> {
        let mut layer = Layer::default();
        for (at, setting) in SETTINGS.iter().enumerate() {
            let text = environ.get(OsStr::new(setting.variable)).filter(|text| !text.is_empty());
            let Some(text) = text else { continue };
            let value =
                setting.kind.read_text(text).map_err(|problem| SettingsError::Variable {
                    variable: setting.variable,
                    value: without_userinfo(&text.to_string_lossy()).into_owned(),
                    problem,
                })?;
            layer.set(at, value, Origin::Environment);
        }
        Ok(layer)
    }

    /// The file that says it.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    /// What it says of a place.
    pub(super) fn path(&self, id: Id) -> Option<PathBuf> {
        self.values.iter().find_map(|(at, value, _)| match value {
            Value::Path(path) if *at == id as usize => Some(path.clone()),
            _ => None,
        })
    }

    /// Recipes of `[inject.NAME]`.
    pub(super) fn recipes(&self) -> Recipes {
        self.recipes.clone()
    }

    pub(super) fn set_recipes(&mut self, recipes: Recipes) {
        self.recipes = recipes;
    }

    /// Says something of the setting at that place of the table.
    pub(super) fn set(&mut self, at: usize, value: Value, origin: Origin) {
        self.values.push((at, value, origin));
    }
}

/// What holds for each setting.
#[derive(Clone, Debug)]
pub struct Resolved(Vec<(Option<Value>, Origin)>);

impl Resolved {
    /// Layers, the weakest first, above the defaults.
    pub(super) fn new(environ: &Environ, layers: impl IntoIterator<Item = Layer>) -> Resolved {
        let defaults = SETTINGS.iter().map(|setting| setting.default_value(environ));
        let mut values: Vec<_> = defaults.map(|value| (value, Origin::Default)).collect();
        for layer in layers {
            for (at, value, origin) in layer.values {
                values[at] = (Some(value), origin);
            }
        }
        Resolved(values)
    }

    /// Each setting with its value, if it has one, and where that comes from.
    pub fn all(&self) -> impl Iterator<Item = (&'static Setting, Option<&Value>, &Origin)> {
        let values = SETTINGS.iter().zip(&self.0);
        values.map(|(setting, (value, origin))| (setting, value.as_ref(), origin))
    }

    /// What these files have set, as variables: hooks and scripts of a site look there.
    pub(super) fn variables(
        &self,
        of_file: impl Fn(&PathBuf) -> bool,
    ) -> impl Iterator<Item = (OsString, OsString)> {
        self.all().filter_map(move |(setting, value, origin)| match origin {
            Origin::File { path, .. } if of_file(path) => {
                Some((setting.variable.into(), value?.to_text()))
            }
            _ => None,
        })
    }

    fn value(&self, id: Id) -> Option<&Value> {
        self.0[id as usize].0.as_ref()
    }

    pub(super) fn path(&self, id: Id) -> Option<PathBuf> {
        match self.value(id) {
            Some(Value::Path(path)) => Some(path.clone()),
            _ => None,
        }
    }

    pub(super) fn paths(&self, id: Id) -> Vec<PathBuf> {
        match self.value(id) {
            Some(Value::Paths(paths)) => paths.clone(),
            _ => Vec::new(),
        }
    }

    /// Drops the paths that a file names for the setting and that `keep` does not want.
    pub(super) fn retain_paths_of_file(&mut self, id: Id, mut keep: impl FnMut(&Path) -> bool) {
        let (value, origin) = &mut self.0[id as usize];
        match (value.as_mut(), origin) {
            (Some(Value::Paths(paths)), Origin::File { .. }) => paths.retain(|path| keep(path)),
            (Some(Value::Path(path)), Origin::File { .. }) if !keep(path) => *value = None,
            _ => {}
        }
    }

    /// Whether somebody has said something.
    pub(super) fn is_said(&self, id: Id) -> bool {
        self.0[id as usize].1 != Origin::Default
    }

    /// Whether the environment says it.
    pub(super) fn is_of_environment(&self, id: Id) -> bool {
        self.0[id as usize].1 == Origin::Environment
    }

    /// `None` where nobody has said anything and there is no default.
    pub(super) fn choice(&self, id: Id) -> Option<bool> {
        match self.value(id) {
            Some(Value::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn is_on(&self, id: Id) -> bool {
        self.choice(id) == Some(true)
    }

    /// `None` as for [`Resolved::choice`].
    pub(super) fn number(&self, id: Id) -> Option<u64> {
        match self.value(id) {
            Some(Value::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// `None` also for zero, which is without limit.
    pub(super) fn limit(&self, id: Id) -> Option<Duration> {
        match self.value(id) {
            Some(Value::Seconds(seconds)) if !seconds.is_zero() => Some(*seconds),
            _ => None,
        }
    }

    pub(super) fn text(&self, id: Id) -> &str {
        match self.value(id) {
            Some(Value::Text(text)) => text,
            _ => "",
        }
    }

    pub(super) fn words(&self, id: Id) -> Vec<String> {
        match self.value(id) {
            Some(Value::Words(words)) => words.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn pairs(&self, id: Id) -> &[(String, String)] {
        match self.value(id) {
            Some(Value::Lists(pairs)) => pairs,
            _ => &[],
        }
    }

    pub(super) fn packing(&self) -> squashfs::write::Packing {
        match self.value(Id::Packing) {
            Some(Value::Packing(packing)) => *packing,
            _ => squashfs::write::Packing::default(),
        }
    }

    pub(super) fn policy(&self) -> images::import::PullPolicy {
        match self.value(Id::Policy) {
            Some(Value::Policy(policy)) => *policy,
            _ => images::import::PullPolicy::Always,
        }
    }
}
