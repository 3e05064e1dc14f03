//! What goes wrong with registries, in one line each.

use std::io::{
    self,
    ErrorKind::{ConnectionRefused, InvalidData},
};
use std::time::Duration;

use super::{CredentialError, ManifestError};
use crate::digest::Digest;

/// Errors of talking to a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// 401 or 403.
    #[error("{registry} denies access to {repository}{detail}: {hint}")]
    Denied {
        /// Host.
        registry: String,
        /// Image.
        repository: String,
        /// What the registry says, with a colon before it; may be empty.
        detail: String,
        /// What to do.
        hint: String,
    },
    /// The node's configuration says no.
    #[error("{name} is not to be fetched on this node: registries.conf blocks {prefix}")]
    Blocked {
        /// What was asked for.
        name: String,
        /// What is blocked.
        prefix: String,
    },
    /// The node's configuration may say no, and cannot be read.
    #[error(
        "{path}: {problem}; nothing is fetched until that is mended, for it may say what is not to be fetched"
    )]
    Rules {
        /// The file or folder.
        path: String,
        /// What is wrong with it, with the line.
        problem: String,
    },
    /// The node's configuration leads nowhere.
    #[error(
        "registries.conf has {location:?} for {prefix}, which leaves no image of its own for {name}"
    )]
    Location {
        /// What was asked for.
        name: String,
        /// What it is in place of.
        prefix: String,
        /// Where it is to be.
        location: String,
    },
    /// 404.
    #[error("{registry} has no {what}{detail}")]
    NotFound {
        /// Host.
        registry: String,
        /// What was asked for.
        what: String,
        /// What the registry says, with a colon before it; may be empty.
        detail: String,
    },
    /// 429.
    #[error(
        "{registry} answered 429 Too Many Requests{detail}: log in for a higher limit, use a mirror, or try later"
    )]
    TooMany {
        /// Host.
        registry: String,
        /// What the registry says, with a colon before it; may be empty.
        detail: String,
        /// For how long it asks not to be asked again.
        after: Option<Duration>,
    },
    /// Any other status that is no success.
    #[error("{registry} answered {status} to the request for {what}{detail}")]
    Status {
        /// Host.
        registry: String,
        /// What was asked for.
        what: String,
        /// Code and reason.
        status: String,
        /// What the registry says, with a colon before it; may be empty.
        detail: String,
        /// For how long it asks not to be asked again.
        after: Option<Duration>,
    },
    /// No answer.
    #[error("cannot get {what} from {registry}: {source}{hint}")]
    Transport {
        /// Host.
        registry: String,
        /// What was asked for.
        what: String,
        /// From the network or the protocol.
        source: Box<ureq::Error>,
        /// What to do, with a separator before it; may be empty.
        hint: String,
    },
    /// No answer to what was sent.
    #[error("cannot send {what} to {registry}: {source}{hint}")]
    Sending {
        /// Host.
        registry: String,
        /// What was sent.
        what: String,
        /// From the network or the protocol.
        source: Box<ureq::Error>,
        /// What to do, with a separator before it; may be empty.
        hint: String,
    },
    /// An upload without an address.
    #[error("{registry} does not say where to send {what}")]
    NoPlace {
        /// Host.
        registry: String,
        /// What was to be sent.
        what: String,
    },
    /// An upload that was begun, and is not known any more: by another server behind the same name, or after too long.
    #[error("{registry} has forgotten the upload of {what}{detail}")]
    Forgotten {
        /// Host.
        registry: String,
        /// What was sent.
        what: String,
        /// What the registry says, with a colon before it; may be empty.
        detail: String,
    },
    /// The connection ended early, again and again.
    #[error("{registry} cut the download of {what} short at {got} of {expected} bytes: {source}")]
    Cut {
        /// Host.
        registry: String,
        /// What was downloaded.
        what: String,
        /// Bytes that came.
        got: u64,
        /// Bytes there should be.
        expected: u64,
        /// The last failure.
        source: io::Error,
    },
    /// Bytes that come, but hardly.
    #[error("{registry} sends {what} too slowly: less than {bytes} bytes in {seconds} seconds")]
    Slow {
        /// Host.
        registry: String,
        /// What was downloaded.
        what: String,
        /// What would have been enough.
        bytes: u64,
        /// The time for that.
        seconds: u64,
    },
    /// Sent again and again from the beginning.
    #[error("{registry} does not resume the download of {what}, and cuts it short too often")]
    Repeated {
        /// Host.
        registry: String,
        /// What was downloaded.
        what: String,
    },
    /// More or fewer bytes than stated.
    #[error("{registry} has {actual} bytes for {what}, and its manifest says {expected}")]
    Length {
        /// Host.
        registry: String,
        /// What was downloaded.
        what: String,
        /// As in the manifest.
        expected: u64,
        /// As offered.
        actual: u64,
    },
    /// The content is not what was asked for.
    #[error(
        "what {registry} sent for {expected} has the digest {actual}: damaged or tampered with"
    )]
    Digest {
        /// Host.
        registry: String,
        /// As asked for.
        expected: Digest,
        /// As received.
        actual: Digest,
    },
    /// A response makes no sense.
    #[error("what {registry} sent as {what} is malformed: {source}")]
    Malformed {
        /// Host.
        registry: String,
        /// What was asked for.
        what: String,
        /// From the parser.
        source: serde_json::Error,
    },
    /// A page for people.
    #[error(
        "{registry} sent a web page for {what}: is this a registry, and is no proxy or portal in the way?"
    )]
    Page {
        /// Host.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// A document larger than anybody needs.
    #[error("{registry} sent more than {limit} bytes for {what}, refused")]
    Oversized {
        /// Host.
        registry: String,
        /// What was asked for.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A challenge that cannot be answered.
    #[error("{registry} wants an authentication that is not supported: {challenge:?}")]
    Challenge {
        /// Host.
        registry: String,
        /// The header.
        challenge: String,
    },
    /// No credentials to be had.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl RegistryError {
    /// How long to wait before that, if the server says so.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            RegistryError::TooMany { after, .. } | RegistryError::Status { after, .. } => *after,
            _ => None,
        }
    }

    /// The same for what was to be sent.
    pub(super) fn while_sending(self) -> RegistryError {
        match self {
            RegistryError::Transport { registry, what, source, hint } => {
                RegistryError::Sending { registry, what, source, hint }
            }
            error => error,
        }
    }

    /// The same within an upload, which can be begun anew.
    pub(super) fn in_upload(self) -> RegistryError {
        match self {
            RegistryError::NotFound { registry, what, detail } => {
                RegistryError::Forgotten { registry, what, detail }
            }
            error => error,
        }
    }

    /// Whether the registry does not do that at all.
    pub(super) fn is_unknown_method(&self) -> bool {
        self.has_status(&["405", "501"])
    }

    /// Whether what was sent does not follow what the registry has.
    pub(super) fn is_misplaced(&self) -> bool {
        self.has_status(&["416"])
    }

    fn has_status(&self, codes: &[&str]) -> bool {
        matches!(self, RegistryError::Status { status, .. } if codes.iter().any(|code| status.starts_with(code)))
    }

    /// Whether less at once may be taken.
    pub(super) fn is_too_large(&self) -> bool {
        self.has_status(&["413"])
    }

    /// Whether it was waited for in vain.
    pub(super) fn is_late(&self) -> bool {
        match self {
            RegistryError::Slow { .. } => true,
            RegistryError::Cut { source, .. } => has_timed_out(source),
            RegistryError::Transport { source, .. } => match &**source {
                ureq::Error::Timeout(_) => true,
                ureq::Error::Io(error) => has_timed_out(error),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            RegistryError::TooMany { .. } | RegistryError::Forgotten { .. } => true,
            // What is not done at all, and what there is no room for, is no better a moment later.
            RegistryError::Status { status, .. } => {
                (status.starts_with('5') && !self.has_status(&["501", "505", "507"]))
                    || status.starts_with("408")
            }
            RegistryError::Transport { source, .. } | RegistryError::Sending { source, .. } => {
                match &**source {
                    // A TLS failure, nobody there, or no such name: none of them gets better within seconds.
                    ureq::Error::Io(error) => {
                        let unknown =
                            is_unknown(source) && !error.to_string().contains("Temporary");
                        ![InvalidData, ConnectionRefused].contains(&error.kind()) && !unknown
                    }
                    ureq::Error::Timeout(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::Protocol(_) => true,
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

fn has_timed_out(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(ureq::Error::Timeout(_))) || error.kind() == io::ErrorKind::TimedOut
}

/// Whether a name has no address. What the C library says has no kind of its own.
pub(super) fn is_unknown(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::HostNotFound => true,
        ureq::Error::Io(error) => error.to_string().contains("failed to lookup address"),
        _ => false,
    }
}

/// Whether what has failed is the way to a server, and nothing that it said itself.
pub(super) fn is_on_the_way(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != InvalidData,
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::ConnectionFailed => true,
        ureq::Error::Timeout(phase) => matches!(phase, ureq::Timeout::Connect),
        _ => is_unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_does_not_come_to_be() {
        for (kind, text, passing) in [
            (
                io::ErrorKind::Other,
                "failed to lookup address information: Name or service not known",
                false,
            ),
            (
                io::ErrorKind::Other,
                "failed to lookup address information: Temporary failure in name resolution",
                true,
            ),
            (io::ErrorKind::ConnectionReset, "Connection reset by peer", true),
            (ConnectionRefused, "Connection refused", false),
        ] {
            let source = Box::new(ureq::Error::Io(io::Error::new(kind, text)));
            let (registry, what, hint) = ("r".to_owned(), "x".to_owned(), String::new());
            let error = RegistryError::Transport { registry, what, source, hint };
            assert_eq!(error.is_passing(), passing, "{text}");
        }
    }
}
