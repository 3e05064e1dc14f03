//! Where things stand: what root runs is in `root/`, no two files use each other, and enroot's code is in one folder.

#![allow(clippy::disallowed_methods)] // No daemon runs this.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What the hooks that root runs may use besides `root`: what reads a line, an option or an environment's text, keeps the
/// result, and asks the system for nothing.
const PLAIN: [&str; 5] = ["config", "options", "state", "step::error", "terminal"];
/// What `root` may use of `step`: what is to be done, and why it was not.
const DATA: [&str; 4] = ["step", "step::error", "step::image", "step::plan"];
/// The one place below which enroot's own code stands.
const ENROOT: &str = "step::runtime::enroot";

/// The plugin's files by module, without comments and tests.
struct Sources(BTreeMap<String, String>);

impl Sources {
    fn read() -> Sources {
        let sources = Sources::of("src");
        assert!(sources.0.len() > 30, "{:?}", sources.0.keys());
        sources
    }

    /// The files of a folder, as seen from the plugin's.
    fn of(folder: &str) -> Sources {
        let mut sources = Sources(BTreeMap::new());
        sources.add(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), "");
        sources
    }

    /// The modules that use each other, or lie between such, and what of each other they use. With `folders`, what
    /// a folder's own file and those in it use of each other does not count: the one declares the others.
    fn circles(&self, folders: bool) -> BTreeMap<String, BTreeSet<String>> {
        let apart = |one: &str, other: &str| {
            let in_it = |folder: &str, file: &str| {
                folder.is_empty()
                    || file.strip_prefix(folder).is_some_and(|rest| rest.starts_with("::"))
            };
            !folders || !(in_it(one, other) || in_it(other, one))
        };
        let uses = |module: &String| -> BTreeSet<String> {
            self.uses(module).into_iter().filter(|other| apart(module, other)).collect()
        };
        let mut left: BTreeMap<String, BTreeSet<String>> =
            self.0.keys().map(|module| (module.clone(), uses(module))).collect();
        // What uses nothing that is left is in no circle.
        while let Some(free) =
            left.iter().find(|(_, uses)| uses.is_empty()).map(|(module, _)| module.clone())
        {
            left.remove(&free);
            left.values_mut().for_each(|uses| {
                uses.remove(&free);
            });
        }
        left
    }

    fn add(&mut self, directory: &Path, module: &str) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let (path, file) = (entry.path(), entry.file_name().into_string().unwrap());
            let below = |name: &str| match module {
                "" => name.to_owned(),
                module => format!("{module}::{name}"),
            };
            if path.is_dir() {
                self.add(&path, &below(&file));
                continue;
            }
            let Some(name) = file.strip_suffix(".rs").filter(|name| *name != "tests") else {
                continue;
            };
            let module = match name {
                "lib" | "main" | "mod" => module.to_owned(),
                name => below(name),
            };
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
            let text: String = text.lines().map(|line| code(line) + "\n").collect();
            // A crate may have a library and a program.
            self.0.entry(module).or_default().push_str(&text);
        }
    }

    /// The module of that path: the part of it that is one.
    fn module_of(&self, path: &[String]) -> Option<String> {
        (1..=path.len())
            .rev()
            .map(|length| path[..length].join("::"))
            .find(|module| self.0.contains_key(module))
    }

    /// What each name means that `module` imports from this crate, as a path from the crate's root.
    fn imports(&self, module: &str) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::new();
        let mut lines = self.0[module].lines();
        while let Some(line) = lines.next() {
            let item = line.trim();
            let item =
                item.strip_prefix("pub(crate) ").or(item.strip_prefix("pub ")).unwrap_or(item);
            let Some(tree) = item.strip_prefix("use ") else { continue };
            let mut tree = tree.to_owned();
            while !tree.contains(';') {
                tree += lines.next().unwrap();
            }
            for (path, name) in expanded(tree.split(';').next().unwrap()) {
                if let Some(path) = self.absolute(module, &path) {
                    found.insert(name, path);
                }
            }
        }
        found
    }

    /// A path as `module` writes it, from the crate's root; `None` for other crates'.
    fn absolute(&self, module: &str, path: &[String]) -> Option<Vec<String>> {
        let here: Vec<String> =
            module.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let up = path.iter().take_while(|part| *part == "super").count();
        let base = match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => return Some([&here[..], &path[1..]].concat()),
            "super" => here[..here.len() - up].to_vec(),
            child if self.0.contains_key(&[&here[..], &[child.to_owned()]].concat().join("::")) => {
                here
            }
            _ => return None,
        };
        Some([&base[..], &path[up..]].concat())
    }

    /// The modules that a module uses, in `use` lines and by paths in its code.
    fn uses(&self, module: &str) -> BTreeSet<String> {
        let imports = self.imports(module);
        let mut used: BTreeSet<String> =
            imports.values().filter_map(|path| self.module_of(path)).collect();
        for path in paths(&self.0[module]) {
            used.extend(self.absolute(module, &path).and_then(|path| self.module_of(&path)));
        }
        used.remove(module);
        used
    }
}

/// The paths of a tree of `use`, each with the name it gets.
fn expanded(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let path: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let name = if name.is_empty() { path.last().unwrap() } else { name };
        return vec![(path.clone(), name.to_owned())];
    };
    let head: Vec<String> = head
        .split("::")
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for letter in rest.trim_end().strip_suffix('}').unwrap().chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    parts.push(part);
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    let paths = parts.flat_map(|part| expanded(part)).map(|(path, name)| match path.as_slice() {
        [own] if own == "self" => (head.clone(), head.last().unwrap().clone()),
        path => ([&head[..], path].concat(), name),
    });
    paths.collect()
}

/// All paths of more than one part in a text, `use` lines included.
fn paths(text: &str) -> Vec<Vec<String>> {
    let of_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    text.split(|letter| !of_path(letter))
        .filter(|word| word.contains("::") && !word.starts_with(':'))
        .map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect())
        .collect()
}

#[test]
fn no_two_files_use_each_other() {
    let sources = Sources::read();
    let used: usize = sources.0.keys().map(|module| sources.uses(module).len()).sum();
    assert!(used > 60, "{used}");
    let left = sources.circles(false);
    assert!(left.is_empty(), "each of these uses another of them: {left:#?}");
}

/// The folders of the workspace's crates, seen from the plugin's.
fn crates() -> Vec<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let text = fs::read_to_string(workspace).unwrap();
    let list = text.split("\nmembers = [").nth(1).unwrap().split(']').next().unwrap();
    list.split(',').map(|name| format!("../{}", name.trim().trim_matches('"'))).collect()
}

#[test]
fn no_two_files_of_a_crate_use_each_other() {
    let crates = crates();
    assert!(crates.len() >= 14 && crates.contains(&"../runtime/pyxis".to_owned()), "{crates:?}");
    for name in crates {
        let code = [format!("{name}/src"), format!("{name}/build")];
        for folder in code.iter().filter(|folder| Path::new(folder).exists()) {
            let sources = Sources::of(folder);
            let left = sources.circles(true);
            assert!(left.is_empty(), "{folder}: each of these uses another of them: {left:#?}");
            let used: usize = sources.0.keys().map(|module| sources.uses(module).len()).sum();
            assert!(used > 0 || sources.0.len() < 5, "{folder}: nothing of it was understood");
        }
    }
}

/// The rows of SAFETY.md's table: a hook, the process, as whom.
fn rows() -> Vec<(Vec<String>, String, String)> {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SAFETY.md");
    let text = fs::read_to_string(text).unwrap();
    let table = text.split("| hook | process | as | does |\n").nth(1).unwrap();
    table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let hooks = cells[1].split(',').map(|hook| hook.trim().trim_matches('`').to_owned());
            (hooks.collect(), cells[2].to_owned(), cells[3].to_owned())
        })
        .collect()
}

/// The functions of a file, by name.
fn functions(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for part in text.split("\nfn ").flat_map(|part| part.split("\npub(crate) fn ")).skip(1) {
        let name = part.split(['(', '<']).next().unwrap();
        found.insert(name.to_owned(), part.split("\n}\n").next().unwrap().to_owned());
    }
    found
}

#[test]
fn the_hooks_are_those_of_the_table() {
    let sources = Sources::read();
    let list = sources.0[""].split("hooks: {").nth(1).unwrap();
    let exported: BTreeSet<String> = list
        .lines()
        .filter_map(|line| line.split_once("=>"))
        .map(|(hook, _)| hook.trim().to_owned())
        .collect();
    let listed: BTreeSet<String> = rows().into_iter().flat_map(|(hooks, ..)| hooks).collect();
    assert_eq!(exported, listed);
    for (hooks, process, who) in rows() {
        assert!(["the caller", "root", "the user", "as before"].contains(&who.as_str()), "{who}");
        assert!(who != "the caller" || process.starts_with("srun"), "{hooks:?}");
    }
}

#[test]
fn hooks_that_root_runs_call_into_root_only() {
    let sources = Sources::read();
    let (imports, functions) = (sources.imports("hooks"), functions(&sources.0["hooks"]));
    let by_root = rows().into_iter().filter(|(_, _, who)| who == "root").flat_map(|row| row.0);
    let mut reached: BTreeSet<String> = by_root.collect();
    assert!(reached.contains("task_exit") && reached.contains("job_epilog"), "{reached:?}");
    loop {
        let calls = |name: &str| {
            let called = format!("{name}(");
            reached.iter().any(|by| by != name && words_with(&functions[by], &called))
        };
        let more: Vec<_> =
            functions.keys().filter(|name| !reached.contains(*name) && calls(name)).collect();
        if more.is_empty() {
            break;
        }
        reached.extend(more.into_iter().cloned());
    }
    // Of the helpers, and not of the user's hooks.
    assert!(reached.contains("node_options") && !reached.contains("task_init"), "{reached:?}");
    let of_users: Vec<String> =
        self::functions(&sources.0["step"].replace("    pub(crate) fn ", "\npub(crate) fn "))
            .into_keys()
            .collect();
    assert!(of_users.iter().any(|name| name == "enter"), "{of_users:?}");
    for name in reached {
        let body = &functions[&name];
        for (word, path) in &imports {
            let module = sources.module_of(path).unwrap();
            let allowed = module == "root"
                || module.starts_with("root::")
                || PLAIN
                    .iter()
                    .any(|plain| module == *plain || module.starts_with(&format!("{plain}::")));
            assert!(allowed || !words_with(body, word), "{name} uses {module} ({word})");
        }
        for method in &of_users {
            assert!(
                !body.contains(&format!("step.{method}(")),
                "{name} calls {method}, which is the user's"
            );
        }
    }
}

/// Whether `word` is in `text`, and not as a part of another word.
fn words_with(text: &str, word: &str) -> bool {
    let letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let after = text[at + word.len()..].starts_with(letter) && !word.ends_with('(');
        !text[..at].ends_with(letter) && !text[..at].ends_with('.') && !after
    })
}

#[test]
fn what_root_runs_is_in_its_folder() {
    let sources = Sources::read();
    let of_root = |module: &str| module == "root" || module.starts_with("root::");
    for module in sources.0.keys().filter(|module| of_root(module)) {
        for used in sources.uses(module) {
            let plain = PLAIN.iter().any(|plain| used.starts_with(plain));
            assert!(
                of_root(&used) || plain || DATA.contains(&used.as_str()),
                "{module} uses {used}"
            );
        }
    }
}

/// What only runs a command, such as removing a container, is told who runs it and needs no step: no other place
/// makes a plan of a step or a job than the one that reads them of Slurm.
#[test]
fn plans_and_jobs_are_made_in_one_place() {
    let sources = Sources::read();
    for (made, place) in [("Plan {", "step::plan"), ("Job {", "root::job")] {
        let makes = |text: &str| {
            text.match_indices(made).any(|(at, _)| {
                let before = text[..at].trim_end();
                let is_type =
                    ["struct", "impl", "for", "->"].iter().any(|word| before.ends_with(word));
                !is_type && text[..at].ends_with([' ', '(', '{', '\n'])
            })
        };
        let makers: Vec<&String> =
            sources.0.iter().filter(|(_, text)| makes(text)).map(|(module, _)| module).collect();
        assert_eq!(makers, [place], "{made}");
    }
}

/// A runtime's name is for messages: what one can do is asked by a method.
#[test]
fn the_name_of_a_runtime_decides_nothing() {
    let sources = Sources::read();
    for (module, text) in &sources.0 {
        for line in text.lines() {
            let compares =
                ["== \"", "!= \"", "\" ==", "\" !=", "\" =>"].iter().any(|op| line.contains(op));
            let names = ["\"enroot\"", "\"pyxis\""].iter().any(|name| line.contains(name));
            let asked = line.contains("b\"");
            assert!(!(compares && names) || asked, "{module}: {line}");
        }
    }
}

#[test]
fn the_folder_of_root_has_nothing_that_root_does_not_run() {
    let sources = Sources::read();
    let mut reached = BTreeSet::from(["root".to_owned()]);
    loop {
        let used: BTreeSet<String> =
            reached.iter().flat_map(|module| sources.uses(module)).collect();
        let new = |module: &String| module.starts_with("root::") && !reached.contains(module);
        let more: Vec<String> = used.into_iter().filter(new).collect();
        if more.is_empty() {
            break;
        }
        reached.extend(more);
    }
    let all = sources.0.keys().filter(|module| module.starts_with("root::"));
    // Below a folder of it files have methods of one type, which are used without a path.
    let is_idle = |module: &&String| {
        let folder = module.split("::").take(2).collect::<Vec<_>>().join("::");
        !reached.contains(*module) && !reached.contains(&folder)
    };
    let idle: Vec<_> = all.filter(is_idle).collect();
    assert!(idle.is_empty(), "only tasks use {idle:?}");
}

#[test]
fn enroot_is_one_folder_behind_one_variant() {
    let sources = Sources::read();
    for module in sources.0.keys().filter(|module| !module.starts_with(ENROOT)) {
        let from: Vec<String> =
            sources.uses(module).into_iter().filter(|used| used.starts_with(ENROOT)).collect();
        assert!(from.is_empty() || module == "step::runtime", "{module} uses {from:?}");
        let variant = sources.0[module].contains("Runtime::Enroot");
        assert!(
            !variant || ["step::runtime", "root::runtime"].contains(&module.as_str()),
            "{module}"
        );
    }
}
