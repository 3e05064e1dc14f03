//! `pyxis list`.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use clap::Args;
use containers::named::{Container, ContainerError, DataPath, Process};
use linux::processes::Row;

use super::{CliError, data_path};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Show the processes of running containers too
    #[arg(short, long)]
    fancy: bool,
}

const HEADER: [&str; 9] =
    ["NAME", "PID", "COMM", "STATE", "STARTED", "TIME", "MNTNS", "USERNS", "COMMAND"];
/// For processes in containers started from an image, or removed since.
const UNNAMED: &str = "<unknown>";

impl ListArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let data = data_path()?;
        let text = if self.fancy { columns(&table(&data)?) } else { plain(&data)? };
        // A reader that has seen enough (`| head`) is no error.
        let _ = io::stdout().write_all(&text);
        Ok(ExitCode::SUCCESS)
    }
}

fn plain(data: &DataPath) -> Result<Vec<u8>, ContainerError> {
    let mut text = Vec::new();
    for name in data.names()? {
        text.extend_from_slice(name.as_os_str().as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

fn table(data: &DataPath) -> Result<Vec<Vec<String>>, ContainerError> {
    let mut processes = Process::all();
    let mut rows = vec![HEADER.map(str::to_owned).to_vec()];
    let mut named = Vec::new();
    for name in data.names()? {
        // A damaged container is listed like one that does not run.
        let mine = match data.container(&name) {
            Ok(container) => take(&mut processes, &container),
            Err(_) => Vec::new(),
        };
        add_rows(&mut named, name.as_os_str(), &mine);
    }
    processes.retain(|process| process.is_container);
    while let Some(label) = processes.iter().find_map(Process::label).map(str::to_owned) {
        let (mine, rest) = processes.drain(..).partition(|process| process.label() == Some(&label));
        processes = rest;
        let mine: Vec<Process> = mine;
        add_rows(&mut named, OsStr::new(&label), &mine);
    }
    if !processes.is_empty() {
        add_rows(&mut rows, OsStr::new(UNNAMED), &processes);
    }
    rows.append(&mut named);
    Ok(rows)
}

fn take(processes: &mut Vec<Process>, container: &Container) -> Vec<Process> {
    let (mine, rest) = processes.drain(..).partition(|process| process.is_in(container));
    *processes = rest;
    mine
}

fn add_rows(rows: &mut Vec<Vec<String>>, name: &OsStr, processes: &[Process]) {
    let mut name = name.to_string_lossy().into_owned();
    for process in processes {
        if let Some(row) = Row::read(process.pid) {
            let Row { command_name, state, started, elapsed, command } = row;
            let (mnt, user) = process.namespaces;
            let name = std::mem::take(&mut name);
            let (pid, mnt, user) = (process.pid.to_string(), mnt.to_string(), user.to_string());
            rows.push(vec![name, pid, command_name, state, started, elapsed, mnt, user, command]);
        }
    }
    if !name.is_empty() {
        rows.push(vec![name]);
    }
}

/// Columns two spaces apart, the last one ragged.
fn columns(rows: &[Vec<String>]) -> Vec<u8> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..HEADER.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> =
            vec![row(&HEADER[..3]), row(&["long-name", "1", "sh"]), row(&["x"])];
        let text = String::from_utf8(columns(&rows)).unwrap();
        assert_eq!(text, "NAME       PID  COMM\nlong-name  1    sh\nx\n");
    }
}
