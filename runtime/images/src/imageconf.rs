//! An image's configuration as the files that enroot keeps it in: `/etc/rc`, `/etc/environment`,
//! `/etc/fstab`, readable by enroot and by `containers::start`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess};

use crate::bounded::{Fields, fields, list, table, words};
use crate::registry::architecture;

/// More arguments, variables or labels than any image has.
const WORDS: usize = 20_000;

/// The configuration of an image, as registries and engines have it.
#[derive(Clone, Debug, Default)]
pub struct ImageConfig {
    /// As Go names it, if it says one.
    pub architecture: Option<String>,
    /// The operating system, if it says one.
    pub os: Option<String>,
    config: Option<Execution>,
}

#[derive(Clone, Debug, Default)]
struct Execution {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
}

impl Fields for ImageConfig {
    fn set<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        entries: &mut A,
    ) -> Result<bool, A::Error> {
        match name {
            "architecture" => {
                let name = entries.next_value::<Option<String>>()?.filter(|name| !name.is_empty());
                self.architecture = name.map(|name| architecture(Some(&name)));
            }
            "os" => {
                let name = entries.next_value::<Option<String>>()?.filter(|name| !name.is_empty());
                self.os = name.map(|name| name.to_lowercase());
            }
            "config" => self.config = entries.next_value::<Option<Execution>>()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Fields for Execution {
    fn set<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        entries: &mut A,
    ) -> Result<bool, A::Error> {
        match name {
            "entrypoint" => self.entrypoint = entries.next_value::<Words>()?.0,
            "cmd" => self.cmd = entries.next_value::<Words>()?.0,
            "env" => self.env = entries.next_value::<Texts>()?.0,
            "workingdir" => self.working_dir = entries.next_value()?,
            "labels" => self.labels = entries.next_value::<Table<_>>()?.0,
            "volumes" => self.volumes = entries.next_value::<Table<_>>()?.0,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'de> Deserialize<'de> for ImageConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ImageConfig, D::Error> {
        fields(from)
    }
}

impl<'de> Deserialize<'de> for Execution {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Execution, D::Error> {
        fields(from)
    }
}

#[derive(Deserialize)]
struct Words(#[serde(deserialize_with = "words::<_, WORDS>")] Option<Vec<String>>);

#[derive(Deserialize)]
struct Texts(#[serde(deserialize_with = "texts")] Option<Vec<String>>);

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Table<T>(#[serde(deserialize_with = "table::<_, _, WORDS>")] Option<BTreeMap<String, T>>);

/// A list of texts, of which null is an empty one, as Go has it.
fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    let texts = list::<_, Option<String>, WORDS>(from)?;
    Ok(texts.map(|texts| texts.into_iter().map(Option::unwrap_or_default).collect()))
}

/// The texts of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `/etc/rc`
    pub rc: String,
    /// `/etc/rc.local`
    pub rc_local: String,
    /// `/etc/environment`
    pub environment: String,
    /// `/etc/fstab`
    pub fstab: String,
}

const RC_LOCAL: &str = "\
# Read by /etc/rc before the container's command is run.
# May change the entrypoint or the command.
";

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Whatever is wrong with the JSON.
    pub fn parse(bytes: &[u8]) -> serde_json::Result<ImageConfig> {
        /// What the kernel takes (`MAX_ARG_STRLEN`, and a share of the largest stack).
        const WORD: usize = 128 << 10;
        const ALL: usize = 2 << 20;
        // What is no UTF-8 is to Go a character that stands for that.
        let text = String::from_utf8_lossy(bytes);
        let mut config: ImageConfig = serde_json::from_str(&text)?;
        for words in config.config.iter_mut().flat_map(|is| [&mut is.entrypoint, &mut is.cmd]) {
            // So a Dockerfile takes back what the image below has.
            if words.as_ref().is_some_and(|words| words.iter().eq([""])) {
                *words = None;
            }
        }
        let words = config.config.iter().flat_map(|config| [&config.entrypoint, &config.cmd]);
        let lengths = words.flatten().flatten().map(String::len);
        let (most, all) = lengths.fold((0, 0), |(most, all), one| (one.max(most), all + one));
        if most >= WORD || all > ALL {
            return Err(serde::de::Error::custom("its command is longer than any can be"));
        }
        Ok(config)
    }

    /// The directory that the image's command starts in.
    pub fn working_directory(&self) -> String {
        let directory = self.config.as_ref().and_then(|config| config.working_dir.as_deref());
        let directory = directory.unwrap_or_default().replace('\0', "");
        // Some builders write it without a slash, or with more than a path needs.
        let mut path = String::with_capacity(directory.len() + 1);
        for name in directory.split('/') {
            match name {
                "" | "." => {}
                ".." => path.truncate(path.rfind('/').unwrap_or(0)),
                name => path.extend(["/", name]),
            }
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Directories that the image has, whether its layers have them or not.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        let volumes = self.config.iter().flat_map(|config| config.volumes.iter().flatten());
        volumes.map(|(path, _)| path.as_str()).filter(|path| path.starts_with('/'))
    }

    /// The files for an image from `origin`.
    pub fn files(&self, origin: &str) -> Files {
        let config = self.config.clone().unwrap_or_default();
        Files {
            rc: rc(&config, &self.working_directory(), origin),
            rc_local: RC_LOCAL.to_owned(),
            environment: environment(&config.env.unwrap_or_default()),
            fstab: fstab(config.volumes.unwrap_or_default().into_keys()),
        }
    }
}

fn rc(config: &Execution, directory: &str, origin: &str) -> String {
    let mut out = format!("# enroot-provenance: {}\n", one_line(origin));
    for (name, value) in config.labels.iter().flatten() {
        let value = value.as_deref().unwrap_or_default();
        out.push_str(&format!("# {} {}\n", one_line(name), one_line(value)));
    }
    let words = |words: &Option<Vec<String>>| -> String {
        words.iter().flatten().map(|word| quoted(word) + " ").collect()
    };
    let entrypoint = words(&config.entrypoint);
    let mut default = entrypoint.clone() + &words(&config.cmd);
    if default.is_empty() {
        default = "'/bin/sh' ".to_owned();
    }
    let directory = in_double_quotes(directory);
    out.push_str(&format!(
        "\nmkdir -p \"{directory}\" 2> /dev/null\n\
         cd \"{directory}\" && unset OLDPWD || exit 1\n\n\
         if [ -s /etc/rc.local ]; then\n    . /etc/rc.local\nfi\n\n\
         if [ $# -gt 0 ]; then\n    exec {entrypoint}\"$@\"\nelse\n    exec {}\nfi\n",
        default.trim_end()
    ));
    out
}

/// One `NAME=VALUE` per line, with notes for what a line cannot say.
fn environment(variables: &[String]) -> String {
    let mut out = Vec::new();
    for variable in variables {
        let variable = variable.replace('\0', "");
        let Some((name, value)) = variable.split_once('=') else { continue };
        // Readers would take it for another name.
        if !name.contains(char::is_whitespace) {
            out.extend(linux::environ::line(name.as_bytes(), value.as_bytes()));
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Volumes, as mounts of the image's own directories onto themselves.
fn fstab(volumes: impl Iterator<Item = String>) -> String {
    let mut out = String::new();
    for volume in volumes.filter(|path| path.starts_with('/') && !path.contains(char::is_control)) {
        let path = hygiene::fstab::escape(volume.as_bytes());
        let path = String::from_utf8_lossy(&path);
        out.push_str(&format!(
            "${{ENROOT_ROOTFS}}{path} {path} none x-create=dir,bind,rw,nosuid,nodev\n"
        ));
    }
    out
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('\0', "")
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\0', "").replace('\'', "'\\''"))
}

fn in_double_quotes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '"' | '$' | '`' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_enroots() {
        let config = ImageConfig::parse(
            br#"{"architecture": "amd64", "config": {
                "Env": ["PATH=/usr/bin", "Q=\"quoted\"", "TWO=a\nb", "bad"],
                "Entrypoint": ["/entry point", "it's"], "Cmd": ["a"], "WorkingDir": "/work \"x\"",
                "Labels": {"maintainer": "a\nb"}, "Volumes": {"/data dir": {}, "relative": {}}
            }}"#,
        )
        .unwrap();
        let files = config.files("docker://h#a:b");
        assert_eq!(
            files.rc,
            "# enroot-provenance: docker://h#a:b\n# maintainer a b\n\n\
             mkdir -p \"/work \\\"x\\\"\" 2> /dev/null\n\
             cd \"/work \\\"x\\\"\" && unset OLDPWD || exit 1\n\n\
             if [ -s /etc/rc.local ]; then\n    . /etc/rc.local\nfi\n\n\
             if [ $# -gt 0 ]; then\n    exec '/entry point' 'it'\\''s' \"$@\"\n\
             else\n    exec '/entry point' 'it'\\''s' 'a'\nfi\n"
        );
        let environment = "PATH=/usr/bin\nQ=\"\"quoted\"\"\nTWO=a b\n#pyxis: TWO=a\\nb\n";
        assert_eq!(files.environment, environment);
        assert_eq!(
            files.fstab,
            "${ENROOT_ROOTFS}/data\\040dir /data\\040dir none x-create=dir,bind,rw,nosuid,nodev\n"
        );
    }

    #[test]
    fn an_image_that_says_nothing_gets_a_shell() {
        for text in ["{}", r#"{"config": null}"#, r#"{"Config": {"Cmd": null, "Env": null}}"#] {
            let files = ImageConfig::parse(text.as_bytes()).unwrap().files("x");
            assert!(files.rc.contains("cd \"/\" && unset OLDPWD || exit 1\n"));
            assert!(
                files.rc.ends_with("    exec \"$@\"\nelse\n    exec '/bin/sh'\nfi\n"),
                "{}",
                files.rc
            );
            assert_eq!(files.environment, "");
        }
    }

    /// So it is for docker, which is written in Go: tools and people write `cmd` for `Cmd`.
    #[test]
    fn names_are_read_whatever_their_case_and_the_last_one_holds() {
        for text in [
            r#"{"config": {"cmd": ["a", "b"], "workingdir": "/w", "ENV": ["A=1"]}}"#,
            r#"{"CONFIG": {"CMD": ["a", "b"], "WorkingDIR": "/w", "env": ["A=1"]}}"#,
            r#"{"config": {"Cmd": ["x"], "cmd": ["a", "b"], "WorkingDir": "/w", "Env": ["A=1"]}}"#,
            r#"{"config": null, "Config": {"Cmd": ["a", "b"], "WorkingDir": "/w", "Env": ["A=1"]}}"#,
            r#"{"container_config": {"Cmd": ["no"]}, "config": {"Cmd": ["a", "b"], "WorkingDir": "/w",
                "Env": ["A=1"], "CmdX": [1], "Shell": {"x": [{}]}}, "history": [{"Cmd": 1}]}"#,
        ] {
            let files = ImageConfig::parse(text.as_bytes()).unwrap().files("x");
            assert!(files.rc.ends_with("    exec 'a' 'b'\nfi\n"), "{text}: {}", files.rc);
            assert!(files.rc.contains("cd \"/w\""), "{text}");
            assert_eq!(files.environment, "A=1\n", "{text}");
        }
        for text in ["[]", "5", r#"{"config": []}"#, r#"{"config": {"cmd": {}}}"#] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(ImageConfig::parse(b"null").is_ok());
    }

    #[test]
    fn a_working_directory_is_what_its_text_leads_to() {
        for (text, want) in [
            ("", "/"),
            ("/", "/"),
            ("a/../b", "/b"),
            ("hi/..//", "/"),
            ("/usr/../bin/.", "/bin"),
            ("../../bin", "/bin"),
            ("//a///b/", "/a/b"),
            ("/a b ", "/a b "),
            ("/...", "/..."),
        ] {
            let config = serde_json::json!({"config": {"WorkingDir": text}}).to_string();
            let config = ImageConfig::parse(config.as_bytes()).unwrap();
            assert_eq!(config.working_directory(), want, "{text}");
        }
    }

    #[test]
    fn the_environment_is_read_as_the_image_has_it() {
        let config = br#"{"config": {"Env": ["A='x'", "B=\"", "C= plain ", "D=x\"y", " E=no",
            "F=${HOME}/x", "G=a\nb\r\n", "H=\"\n'", "I=a\\nb", "I", "=x", "J=$(x) `y` $Z", "K="]}}"#;
        let files = ImageConfig::parse(config).unwrap().files("x");
        let read =
            linux::environ::parse(files.environment.as_bytes(), &linux::environ::Environ::new());
        let read: Vec<_> =
            read.iter().map(|(name, value)| (name.to_str(), value.to_str())).collect();
        let want = [
            ("A", "'x'"),
            ("B", "\""),
            ("C", " plain "),
            ("D", "x\"y"),
            ("F", "${HOME}/x"),
            ("G", "a\nb\r\n"),
            ("H", "\"\n'"),
            ("I", "a\\nb"),
            ("J", "$(x) `y` $Z"),
            ("K", ""),
        ];
        assert_eq!(read, want.map(|(name, value)| (Some(name), Some(value))));
    }
}
