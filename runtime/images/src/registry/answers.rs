//! What a registry's answer says beside a document: when to come again, what is wrong, and whether it is an
//! answer of a registry at all.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use ureq::Body;
use ureq::http::{HeaderMap, Response};

use super::date::date;

/// What a `Retry-After` asks for: so many seconds, or until a date, and a little more than either.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get("retry-after")?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date(text)?.duration_since(now).unwrap_or_default(),
    };
    Some(pause.saturating_add(Duration::from_millis(250)))
}

/// The type that an answer says it has.
pub(super) fn content_type(response: &Response<Body>) -> Option<&str> {
    response.headers().get("content-type")?.to_str().ok()
}

/// Whether something is a page for people.
pub(super) fn is_page(kind: Option<&str>, body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    let marked = body.first() == Some(&b'<');
    let named = kind.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("text/html"));
    // Some registries name everything so.
    marked || named && !matches!(body.first(), None | Some(b'{' | b'['))
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<OneError>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first error of a registry's error document, as one printable line.
pub(super) fn detail(body: &[u8]) -> String {
    let Ok(Errors { errors }) = serde_json::from_slice(body) else { return String::new() };
    let Some(error) = errors.into_iter().next() else { return String::new() };
    let text = if error.message.is_empty() { error.code } else { error.message };
    let text: String = text.chars().filter(|char| !char.is_control()).take(200).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_in_seconds_or_until_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, want) in [
            ("12", Some(12)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
            ("Sun Nov  6 08:49:47 1994", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", text.parse().unwrap());
            let got = retry_after(&headers, now).map(|pause| pause.as_secs());
            assert_eq!(got, want, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", u64::MAX.to_string().parse().unwrap());
        assert!(retry_after(&headers, now).is_some());
    }

    #[test]
    fn a_page_is_no_document() {
        for (kind, body, page) in [
            (None, "<!DOCTYPE html>", true),
            (Some("text/html; charset=utf-8"), "Please log in", true),
            (Some("Text/HTML"), "\n <html>", true),
            (Some("text/html"), r#"{"schemaVersion": 2}"#, false),
            (Some("application/json"), "{}", false),
            (Some("application/json"), "  <html>", true),
            (Some("text/html"), "", false),
            (None, "", false),
        ] {
            assert_eq!(is_page(kind, body.as_bytes()), page, "{kind:?} {body}");
        }
    }
}
