//! An image on many nodes, Slurm's own way: `pyxis pull --nodes`, and what srun does before a step of several
//! nodes where `spread` is set.
//!
//! A step of short tasks asks the nodes who lacks the image. If several do, another step of these alone
//! has the first of them fetch the layers to its user's store, and send them to the others by `sbcast`; each takes
//! them into its own store by their digest. What goes wrong there costs time and nothing else: a node
//! that has not got them fetches for itself.

mod asking;
mod error;
mod order;
mod slurm;
mod task;

pub(crate) use error::NodesError;
pub(crate) use order::Order;
pub(crate) use task::run as run_task;

use std::io::Write;

use hygiene::console;
use images::progress::Progress;
use images::uri::Uri;

use pyxis::progress;
use pyxis::settings::Settings;

use super::{CliError, Exit};
use asking::{Answer, ask};
use order::Part;
use slurm::{Job, variable};

/// The word for all nodes of the allocation.
const ALL: &str = "all";

/// An image for many nodes.
pub(crate) struct Wanted<'a> {
    pub(crate) settings: &'a Settings,
    /// As it was asked for.
    pub(crate) uri: &'a str,
    /// What its tag names, for machines of all kinds.
    pub(crate) digest: &'a str,
    pub(crate) arch: Option<&'a str>,
    /// To the shared store, as the account that owns it.
    pub(crate) shared: bool,
    /// Somebody waits who could do without.
    pub(crate) hurry: bool,
}

impl Wanted<'_> {
    fn order(&self, part: Part) -> Order {
        Order {
            part,
            uri: self.uri.to_owned(),
            digest: self.digest.to_owned(),
            arch: self.arch.map(str::to_owned),
            shared: self.shared,
            hurry: self.hurry,
        }
    }
}

/// A node without the image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lacking {
    node: String,
    /// The store's identity.
    store: String,
    /// Its place.
    place: String,
}

/// Whether an image can be asked for on other nodes by its name.
pub(crate) fn is_spread(uri: &Uri, text: &str) -> bool {
    matches!(uri, Uri::Registry(_))
        && hygiene::userinfo::without_password(text.as_bytes()) == text.as_bytes()
}

/// In an allocation: has the image on these nodes. Elsewhere: allocates them for that.
pub(crate) fn pull(wanted: &Wanted<'_>, list: &str) -> Result<Exit, CliError> {
    let environ = &wanted.settings.host;
    let list = match (list, variable(environ, "SLURM_JOB_NODELIST")) {
        (ALL, None) => return Err(NodesError::NoAllocation.into()),
        (ALL, Some(all)) => all,
        (list, _) => list.to_owned(),
    };
    let progress = progress::for_stderr();
    let Some(job) = Job::of(environ) else {
        progress.step(&format!("Waiting for Slurm to allocate {list}"));
        let status = slurm::allocation(&list)?.status();
        let failed = |source| NodesError::Run { program: "salloc".to_owned(), source };
        let code = status.map_err(failed)?.code();
        return Ok(Exit(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    };
    let nodes = slurm::names(&list)?;
    progress.step(&format!("Asking {} nodes for {}", nodes.len(), wanted.uri));
    let mut answers = look(wanted, &job, &nodes)?;
    let lacking: Vec<Lacking> = answers.iter().filter_map(lacking).collect();
    progress.step(&format!("{} of {} nodes lack it", lacking.len(), nodes.len()));
    if let Err(error) = spread(wanted, &job, &lacking) {
        progress.warn(&format!("{error}; each node fetches the image for itself"));
    }
    let names: Vec<String> = lacking.into_iter().map(|one| one.node).collect();
    answers.retain(|answer| answer.word != task::LACKS);
    answers.extend(fetch(wanted, &job, &names, &progress)?);
    let mut exit = Exit::SUCCESS;
    for (node, why) in without(&nodes, &answers) {
        console::tell(format_args!("pyxis: {node}: {why}"));
        exit = Exit::FAILURE;
    }
    Ok(exit)
}

/// The nodes that do not have the image, by their last answers, and what is known of each.
fn without<'a>(nodes: &'a [String], answers: &[Answer]) -> Vec<(&'a str, &'static str)> {
    let why = |node: &String| match answers.iter().find(|answer| answer.node == *node) {
        None => Some("it has not answered"),
        Some(answer) if [task::HAS, task::DONE].contains(&&*answer.word) => None,
        Some(_) => Some("the image is not there"),
    };
    nodes.iter().filter_map(|node| why(node).map(|why| (&**node, why))).collect()
}

/// Before a step of several nodes: its nodes get the layers of an image that they lack, and make it
/// themselves when the step begins.
pub(crate) fn before_step(wanted: &Wanted<'_>) -> Result<(), CliError> {
    let environ = &wanted.settings.host;
    let (Some(job), Some(step)) = (Job::of(environ), variable(environ, "SLURM_STEP_ID")) else {
        return Ok(());
    };
    let nodes = slurm::names(&job.nodes_of(&step)?)?;
    if nodes.len() < 2 {
        return Ok(());
    }
    let looked = look(wanted, &job, &nodes)?;
    let lacking: Vec<Lacking> = looked.iter().filter_map(lacking).collect();
    spread(wanted, &job, &lacking)
}

/// What the nodes have said, if any of them has.
fn look(wanted: &Wanted<'_>, job: &Job, nodes: &[String]) -> Result<Vec<Answer>, CliError> {
    let mut answers = Vec::new();
    let asked = ask(&wanted.order(Part::Look), job, nodes, |_, answer| answers.push(answer));
    if answers.is_empty() {
        asked?;
    }
    for answer in answers.iter().filter(|answer| answer.word == task::FAILED) {
        console::tell(format_args!("pyxis: {}: {}", answer.node, answer.rest));
    }
    Ok(answers)
}

fn lacking(answer: &Answer) -> Option<Lacking> {
    let (store, place) = answer.rest.split_once(' ')?;
    (answer.word == task::LACKS).then(|| Lacking {
        node: answer.node.clone(),
        store: store.to_owned(),
        place: place.to_owned(),
    })
}

/// Has the layers sent to one node for each store that lacks the image.
fn spread(wanted: &Wanted<'_>, job: &Job, lacking: &[Lacking]) -> Result<(), CliError> {
    let nodes = receivers(lacking);
    // Who alone lacks an image fetches it.
    if lacking.len() < 2 || nodes.is_empty() {
        return Ok(());
    }
    let mut input = Vec::new();
    ask(&wanted.order(Part::Spread), job, &nodes, |stdin, answer| {
        match &*answer.word {
            task::SENT => input = answer.rest.into_bytes(),
            task::FAILED => {
                console::tell(format_args!("pyxis: {}: {}", answer.node, answer.rest));
            }
            _ => return,
        }
        // With nothing, if the first has failed: the others then wait no longer.
        if let Some(mut stdin) = stdin.take() {
            input.push(b'\n');
            let _ = stdin.write_all(&input);
        }
    })?;
    Ok(())
}

/// The first, and one for each other store at the same place.
fn receivers(lacking: &[Lacking]) -> Vec<String> {
    let mut chosen: Vec<&Lacking> = Vec::new();
    for one in lacking.iter().filter(|one| one.store != task::ALONE) {
        let place = chosen.first().is_none_or(|first| first.place == one.place);
        if place && !chosen.iter().any(|known| known.store == one.store) {
            chosen.push(one);
        }
    }
    chosen.into_iter().map(|one| one.node.clone()).collect()
}

/// What the nodes have said to the end, each that was not killed.
fn fetch(
    wanted: &Wanted<'_>,
    job: &Job,
    nodes: &[String],
    progress: &Progress,
) -> Result<Vec<Answer>, CliError> {
    let mut answers: Vec<Answer> = Vec::new();
    if nodes.is_empty() {
        return Ok(answers);
    }
    let mut done = 0;
    let fetched = ask(&wanted.order(Part::Fetch), job, nodes, |_, answer| {
        if answer.word == task::DONE {
            done += 1;
            progress.step(&format!("{} has it ({done} of {})", answer.node, nodes.len()));
        } else {
            console::tell(format_args!("pyxis: {}: {}", answer.node, answer.rest));
        }
        answers.push(answer);
    });
    match fetched {
        Err(NodesError::Failed { .. }) | Ok(()) => Ok(answers),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Option<Lacking> {
        asking::parse(line).as_ref().and_then(lacking)
    }

    #[test]
    fn who_lacks_it_has_a_store_at_a_place() {
        assert_eq!(answer("pyxis-node n1 has"), None);
        let place = answer("pyxis-node n1 lacks id /var/a store").unwrap().place;
        assert_eq!(place, "/var/a store");
    }

    #[test]
    fn of_who_has_not_answered_nothing_else_is_said() {
        let nodes = ["n1", "n2", "n3", "n4"].map(str::to_owned);
        let lines = ["pyxis-node n1 has", "pyxis-node n2 done", "pyxis-node n4 failed why"];
        let answers: Vec<Answer> = lines.iter().filter_map(|line| asking::parse(line)).collect();
        let of = [("n3", "it has not answered"), ("n4", "the image is not there")];
        assert_eq!(without(&nodes, &answers), of);
    }

    /// A file that two nodes write at once, or that a node has no place for, would end the sending for all.
    #[test]
    fn each_store_gets_it_once_and_where_the_first_has_its_own() {
        let of = |lines: [&str; 4]| {
            let lacking: Vec<Lacking> = lines.iter().filter_map(|line| answer(line)).collect();
            receivers(&lacking)
        };
        let nodes = of([
            "pyxis-node n1 lacks a /s",
            "pyxis-node n2 lacks b /s",
            "pyxis-node n3 lacks a /s",
            "pyxis-node n4 lacks c /other",
        ]);
        assert_eq!(nodes, ["n1", "n2"]);
        let no_room = "pyxis-node n2 lacks - /s";
        let [first, last] = ["pyxis-node n1 lacks - /s", "pyxis-node n4 lacks d /s"];
        assert_eq!(of([first, no_room, no_room, last]), ["n4"]);
        assert_eq!(receivers(&[]), Vec::<String>::new());
    }
}
