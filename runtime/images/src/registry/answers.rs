//! What a registry's answer says beside a document: when to come again, what is wrong, and whether it is an
//! answer of a registry at all.

use std::io::Read;
use std::time::{Duration, SystemTime};

use flate2::bufread::MultiGzDecoder;
use serde_json::{Map, Value};
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

/// What a server says of an error, as one printable line: the first error of a registry's document, or what
/// token servers and proxies write in place of one.
pub(super) fn detail(body: &[u8]) -> String {
    let document = serde_json::from_slice::<Value>(body);
    let text = match &document {
        Ok(document) => document.as_object().and_then(words_of),
        Err(_) => std::str::from_utf8(body).ok().and_then(|text| text.trim().lines().next()),
    };
    let text = text.unwrap_or_default().trim();
    let text: String = text.chars().filter(|char| !char.is_control()).take(200).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

/// The words of one error among the fields that have them, the most telling ones first.
fn words_of(document: &Map<String, Value>) -> Option<&str> {
    let first = match document.get("errors") {
        Some(Value::Array(errors)) => errors.first(),
        _ => document.get("error"),
    };
    let inner = first.and_then(Value::as_object).and_then(words_of);
    let text = |name: &&str| document.get(*name)?.as_str().filter(|text| !text.is_empty());
    let names = ["message", "error_description", "details", "detail", "error", "code"];
    inner.or_else(|| names.iter().find_map(text))
}

/// What a document is that a server, or a proxy before it, has compressed unasked: HTTP clients of others ask
/// for it, and some servers do it for everybody.
pub(super) fn decoded(headers: &HeaderMap, bytes: Vec<u8>, limit: u64) -> std::io::Result<Vec<u8>> {
    let named = headers.get("content-encoding").and_then(|value| value.to_str().ok());
    let compressed = bytes.starts_with(&[0x1f, 0x8b])
        && named.is_some_and(|name| ["gzip", "x-gzip"].contains(&&*name.to_ascii_lowercase()));
    if !compressed {
        return Ok(bytes);
    }
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).take(limit + 1).read_to_end(&mut out)?;
    Ok(out)
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
    fn a_server_says_what_is_wrong_in_many_ways() {
        for (body, want) in [
            (r#"{"errors": [{"code": "DENIED", "message": "no\n way"}, {"code": "B"}]}"#, "no way"),
            (r#"{"errors": [{"code": "DENIED", "message": ""}]}"#, "DENIED"),
            (r#"{"errors": [{"status": 403, "message": "quota"}]}"#, "quota"),
            (r#"{"details": "incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"detail": "bad token"}"#, "bad token"),
            (r#"{"error": "invalid_grant", "error_description": "it has ended"}"#, "it has ended"),
            (r#"{"error": {"code": "x", "message": "in here"}}"#, "in here"),
            (r#"{"error": "no such project", "errors": null}"#, "no such project"),
            (r#"{"message": "rate limited"}"#, "rate limited"),
            ("client certificate required\nsecond line", "client certificate required"),
            ("\u{1b}[2Jx", "[2Jx"),
            (r#"{"errors": []}"#, ""),
            (r#"{"a": 1}"#, ""),
            ("[1]", ""),
            ("", ""),
        ] {
            let want = if want.is_empty() { String::new() } else { format!(" ({want})") };
            assert_eq!(detail(body.as_bytes()), want, "{body}");
        }
        assert_eq!(detail(b"\xff\xfe"), "");
        assert_eq!(detail("x".repeat(5000).as_bytes()).len(), 203);
    }

    #[test]
    fn a_document_may_be_compressed_unasked_and_has_an_end() {
        let gzip = |text: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut out, text).unwrap();
            out.finish().unwrap()
        };
        let (mut headers, text) = (HeaderMap::new(), vec![b'x'; 5000]);
        assert_eq!(decoded(&headers, gzip(&text), 9000).unwrap(), gzip(&text));
        headers.insert("content-encoding", "GZip".parse().unwrap());
        assert_eq!(decoded(&headers, gzip(&text), 9000).unwrap(), text);
        assert_eq!(decoded(&headers, text.clone(), 9000).unwrap(), text);
        // One byte more than there may be shows that it is too long.
        assert_eq!(decoded(&headers, gzip(&text), 1000).unwrap().len(), 1001);
        assert!(decoded(&headers, gzip(&text)[..20].to_vec(), 9000).is_err());
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
