//! What a task asks a runtime's command for, before a container is started.

use crate::options::components::number;
use crate::root::child::Caller;
use crate::root::runtime::Runtime;
use crate::step::error::StepError;
use crate::step::image::Image;
use handover::request::Request;
use std::path::Path;

/// A container of the runtime's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Its file system is there.
    Stopped,
    /// And a process runs in it.
    Running(i32),
}

impl Runtime {
    /// The container of that name, if there is one.
    pub(crate) fn find(
        &self,
        caller: Caller<'_>,
        name: &str,
    ) -> Result<Option<Existing>, StepError> {
        let failing = "couldn't get list of existing container filesystems";
        let list = self.ask(caller, &Request::Processes, failing)?;
        Ok(parse_list(&list.log).find(|(have, _)| *have == name).map(|(_, existing)| existing))
    }

    /// Makes a squashfs file of a remote image.
    pub(crate) fn import(
        &self,
        caller: Caller<'_>,
        image: &Image,
        file: &Path,
    ) -> Result<(), StepError> {
        let Image::Remote { uri, shown } = image else { return Ok(()) };
        let request = Request::Import { uri, file: file.as_os_str() };
        self.ask(caller, &request, &not_imported(shown)).map(drop)
    }

    /// Makes a container of a remote image.
    pub(crate) fn load(
        &self,
        caller: Caller<'_>,
        image: &Image,
        name: &str,
    ) -> Result<(), StepError> {
        let Image::Remote { uri, shown } = image else { return Ok(()) };
        let request = Request::Load { uri, name: name.as_ref() };
        self.ask(caller, &request, &not_imported(shown)).map(drop)
    }

    /// Makes a container of the squashfs file that `image` is in. Where it need not be a `new` one, one that another
    /// node has made meanwhile will do.
    pub(crate) fn create(
        &self,
        caller: Caller<'_>,
        image: &Image,
        file: &Path,
        name: &str,
        new: bool,
    ) -> Result<(), StepError> {
        let failing = format!("failed to create container filesystem for image: {}", image.shown());
        let (file, name) = (file.as_os_str(), name.as_ref());
        let request = match new {
            true => Request::Create { file, name },
            false => Request::Ensure { file, name },
        };
        self.ask(caller, &request, &failing).map(drop)
    }
}

/// What failed.
pub(crate) fn not_imported(shown: &str) -> String {
    format!("failed to import docker image: {shown}")
}

/// Names and states from the table of `list -f`: a line of headers, then name and, of running
/// containers, the PID.
fn parse_list(table: &str) -> impl Iterator<Item = (&str, Existing)> {
    table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let name = columns.next()?;
        // Further processes of a container have lines without a name.
        if line.starts_with([' ', '\t']) {
            return None;
        }
        let pid = columns.next().and_then(|pid| number(pid.as_bytes())).map(|pid| pid as i32);
        Some((name, pid.map_or(Existing::Stopped, Existing::Running)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_containers_is_read() {
        let table =
            "NAME      PID  COMM  STATE\npyxis_a\npyxis_b   123  sleep S\n          124  sh    S\n";
        let got: Vec<_> = parse_list(table).collect();
        assert_eq!(got, [("pyxis_a", Existing::Stopped), ("pyxis_b", Existing::Running(123))]);
        assert_eq!(parse_list("").count(), 0);
    }
}
