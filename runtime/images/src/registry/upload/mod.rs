//! Putting content into a registry: blobs that it does not have, and manifests (the OCI distribution
//! API, "Push").

mod exchange;

use std::fs::File;

use ureq::Body;
use ureq::http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use ureq::http::{Method, Response, StatusCode, Uri};

use super::client::retry::backoff;
use super::client::shown;
use super::{Client, RegistryError};
use crate::digest::Digest;

use exchange::{Call, Content, NOTHING, Part};

/// What is not taken at once is sent in pieces, first of this size.
const PIECE: u64 = 16 << 20;
/// Smaller pieces no registry can want.
const LEAST: u64 = 64 << 10;
/// What a digest and a manifest's kind are sent as.
const BYTES: &str = "application/octet-stream";

/// Content to be put into a registry.
#[derive(Debug)]
pub struct LocalBlob {
    /// Its digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// All of them.
    pub file: File,
}

/// How a blob has come to be in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Present,
    /// The registry had it in another repository.
    Mounted,
    /// It was sent.
    Sent,
}

/// An upload that the registry has begun.
struct Upload {
    /// Where to go on.
    at: Uri,
    /// Bytes that the registry has.
    done: u64,
    /// Bytes to send at once.
    piece: u64,
    /// All of them are to come with the last request: the registry knows no pieces.
    at_once: bool,
}

impl Upload {
    fn shrink(&mut self) {
        self.piece = if self.piece > PIECE { PIECE } else { (self.piece / 2).max(LEAST) };
    }
}

impl Client {
    /// Whether the repository is known to have a blob. Who may put something there need not be told.
    fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let path = format!("blobs/{digest}");
        match self.retry(|| self.request(Method::HEAD, &path, None, None, digest)) {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. } | RegistryError::Denied { .. }) => Ok(false),
            Err(RegistryError::Status { status, .. }) if status.starts_with('4') => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks whether something may be put here, by beginning an upload that is given up.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn may_push(&self) -> Result<(), RegistryError> {
        let what = "anything";
        let uri = self.place("blobs/uploads/", what)?;
        let call = Call { method: &Method::POST, uri: &uri, headers: &[], what };
        let answer = self.retry(|| self.exchange(&call, NOTHING))?;
        let at = self.location(&uri, &answer, what)?;
        // Who cannot forget it does so by itself, in time.
        let _ = self.exchange(&Call { method: &Method::DELETE, uri: &at, ..call }, NOTHING);
        Ok(())
    }

    /// Puts a blob into the repository, unless it is there. `from` is another repository of the registry
    /// that may have it. `tell` is told of bytes as they are sent.
    ///
    /// # Errors
    /// [`RegistryError`], with the registry's own words.
    pub fn push_blob(
        &self,
        blob: &LocalBlob,
        from: Option<&str>,
        tell: &dyn Fn(u64),
    ) -> Result<Pushed, RegistryError> {
        if self.has_blob(&blob.digest)? {
            return Ok(Pushed::Present);
        }
        let mut attempt = 0;
        loop {
            match self.upload(blob, from, tell) {
                Err(RegistryError::Forgotten { .. }) if attempt < self.settings.retries => {}
                done => return done,
            }
            std::thread::sleep(backoff(attempt));
            attempt += 1;
            // The answer to its end may have been lost, and not the upload.
            if self.has_blob(&blob.digest)? {
                return Ok(Pushed::Sent);
            }
        }
    }

    /// Puts a manifest into the repository, by a tag or its digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_manifest(
        &self,
        selector: &str,
        kind: &str,
        manifest: &[u8],
    ) -> Result<(), RegistryError> {
        let what = format!("the manifest of {}{}", self.repository, shown(selector));
        let uri = self.place(&format!("manifests/{selector}"), &what)?;
        let headers = [(CONTENT_TYPE, kind)];
        let call = Call { method: &Method::PUT, uri: &uri, headers: &headers, what: &what };
        self.retry(|| self.exchange(&call, Content::Bytes(manifest))).map(drop)
    }

    fn upload(
        &self,
        blob: &LocalBlob,
        from: Option<&str>,
        tell: &dyn Fn(u64),
    ) -> Result<Pushed, RegistryError> {
        let what = &blob.digest;
        let Some(mut upload) = self.begin(blob, from)? else { return Ok(Pushed::Mounted) };
        let (mut attempt, mut furthest) = (0, 0);
        let mut patience = self.patience();
        while upload.done < blob.size && !upload.at_once {
            match self.send_piece(&mut upload, blob, tell).map_err(RegistryError::in_upload) {
                Ok(()) => {}
                Err(error) if error.is_unknown_method() && upload.done == 0 => {
                    upload.at_once = true
                }
                Err(error @ RegistryError::Forgotten { .. }) => return Err(error),
                // More than a registry, or a proxy before it, takes at once: they may say so, or cut
                // the connection.
                Err(error) if upload.piece > LEAST && error.is_too_large() => {
                    upload.shrink();
                    self.ask_how_far(&mut upload, what)?;
                }
                Err(error) if error.is_misplaced() && attempt < self.settings.retries => {
                    attempt += 1;
                    self.ask_how_far(&mut upload, what)?;
                }
                Err(error) => {
                    // Who says when to come back may say too late a time; then all of it is tried again.
                    match self.pause(&error, attempt, &mut patience) {
                        Some(pause) => std::thread::sleep(pause),
                        None => return Err(error),
                    }
                    attempt += 1;
                    upload.shrink();
                    self.ask_how_far(&mut upload, what)?;
                }
            }
            // Who takes back what it had does not get on.
            if upload.done > furthest {
                (attempt, furthest, patience) = (0, upload.done, self.patience());
            }
        }
        self.end(&upload, blob, tell).map(|()| Pushed::Sent)
    }

    /// Says that all has come, or sends all.
    fn end(
        &self,
        upload: &Upload,
        blob: &LocalBlob,
        tell: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let what = &blob.digest;
        let separator = if upload.at.query().is_some() { '&' } else { '?' };
        let uri = format!("{}{separator}digest={}", upload.at, blob.digest);
        let uri = uri.parse().map_err(|_| self.no_place(what))?;
        let (headers, content) = match upload.at_once {
            true => (
                &[(CONTENT_TYPE, BYTES)][..],
                Content::Part(Part { file: &blob.file, at: 0, end: blob.size, tell }),
            ),
            false => (&[][..], NOTHING),
        };
        let call = Call { method: &Method::PUT, uri: &uri, headers, what };
        self.retry(|| self.exchange(&call, content)).map(drop).map_err(RegistryError::in_upload)
    }

    /// Begins an upload; none is needed where the registry takes the blob from its other repository.
    fn begin(&self, blob: &LocalBlob, from: Option<&str>) -> Result<Option<Upload>, RegistryError> {
        let mut path = "blobs/uploads/".to_owned();
        if let Some(from) = from {
            path += &format!("?mount={}&from={from}", blob.digest);
        }
        let what = &blob.digest;
        let uri = self.place(&path, what)?;
        let call = Call { method: &Method::POST, uri: &uri, headers: &[], what };
        let answer = self.retry(|| self.exchange(&call, NOTHING))?;
        if answer.status() == StatusCode::CREATED && from.is_some() {
            return Ok(None);
        }
        let at = self.location(&uri, &answer, what)?;
        Ok(Some(Upload { at, done: 0, piece: u64::MAX, at_once: false }))
    }

    fn send_piece(
        &self,
        upload: &mut Upload,
        blob: &LocalBlob,
        tell: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let end = upload.done.saturating_add(upload.piece).min(blob.size);
        let range = format!("{}-{}", upload.done, end - 1);
        let whole = [(CONTENT_TYPE, BYTES)];
        let part = [(CONTENT_TYPE, BYTES), (CONTENT_RANGE, range.as_str())];
        let headers = if upload.done == 0 && end == blob.size { &whole[..] } else { &part };
        let call = Call { method: &Method::PATCH, uri: &upload.at, headers, what: &blob.digest };
        let content = Content::Part(Part { file: &blob.file, at: upload.done, end, tell });
        let answer = self.exchange(&call, content)?;
        self.move_on(upload, &answer, &blob.digest)?;
        upload.done = end;
        Ok(())
    }

    /// After a failure: the registry says how much it has.
    fn ask_how_far(&self, upload: &mut Upload, what: &str) -> Result<(), RegistryError> {
        let call = Call { method: &Method::GET, uri: &upload.at, headers: &[], what };
        let answer =
            self.retry(|| self.exchange(&call, NOTHING)).map_err(RegistryError::in_upload)?;
        let range = answer.headers().get(RANGE).and_then(|range| range.to_str().ok());
        let end = range.and_then(|range| range.trim_start_matches("bytes=").split_once('-'));
        let end = end.and_then(|(_, end)| end.trim().parse::<u64>().ok());
        upload.done = match end {
            // Of nothing, too, registries say so.
            None | Some(0) => 0,
            Some(end) => end.saturating_add(1),
        };
        self.move_on(upload, &answer, what)
    }

    /// Where the upload goes on: where it was, if an answer does not say.
    fn move_on(
        &self,
        upload: &mut Upload,
        answer: &Response<Body>,
        what: &str,
    ) -> Result<(), RegistryError> {
        if answer.headers().contains_key(LOCATION) {
            upload.at = self.location(&upload.at, answer, what)?;
        }
        Ok(())
    }
}
