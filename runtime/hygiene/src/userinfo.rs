//! Passwords in names: `docker://USER:PASSWORD@REGISTRY#IMAGE`, as one may write a URL.
//!
//! A user's name has no colon, so that nobody logs in by one there; it is taken out before the name
//! is given to another process, whose arguments everybody sees, or shown.

use std::borrow::Cow;

/// The name of an image without the password in it.
pub fn without_password(image: &[u8]) -> Cow<'_, [u8]> {
    let start = image.windows(3).position(|part| part == b"://").map_or(0, |at| at + 3);
    if !matches!(&image[..start], b"" | b"docker://") || path_at(image).is_some() {
        return image.into();
    }
    // The digest, which has an "@" of its own, comes last.
    let end = digest_at(image).filter(|at| *at >= start).unwrap_or(image.len());
    let name = &image[start..end];
    let at = name.iter().rposition(|byte| *byte == b'@');
    let colon = name.iter().position(|byte| *byte == b':');
    match (colon, at) {
        (Some(colon), Some(at)) if colon < at => {
            [&image[..start + colon], &image[start + at..]].concat().into()
        }
        _ => image.into(),
    }
}

/// Where the digest of a name of an image begins, at its `@`.
fn digest_at(image: &[u8]) -> Option<usize> {
    image.windows(8).rposition(|part| part == b"@sha256:" || part == b"@sha512:")
}

/// Where the path begins in the name of an archive or a layout, as skopeo and podman write them. `oci` may
/// be an image with a tag, which has no slash and does not begin with a dot.
pub fn path_at(name: &[u8]) -> Option<usize> {
    let at = name.iter().position(|byte| *byte == b':')? + 1;
    let is = match &name[..at] {
        b"docker-archive:" | b"oci-archive:" => true,
        b"oci:" => matches!(name[at..], [b'.' | b'/', ..]),
        _ => false,
    };
    is.then_some(at)
}

/// Text without the passwords of the URLs in it.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out += before;
        // Up to where a host would be.
        let end = after.find(|c: char| c.is_whitespace() || "/#?\"'".contains(c));
        let authority = &after[..end.unwrap_or(after.len())];
        let userinfo = authority.rfind('@').map(|at| &authority[..at]);
        rest = match userinfo.and_then(|userinfo| Some((userinfo, userinfo.find(':')?))) {
            Some((userinfo, colon)) => {
                out += &userinfo[..colon];
                out += ":***";
                &after[userinfo.len()..]
            }
            None => after,
        };
    }
    if out.is_empty() { text.into() } else { (out + rest).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_out_of_names() {
        let digest = format!("@sha256:{}", "a".repeat(64));
        for (image, without) in [
            ("user:pw@reg#x:1", "user@reg#x:1"),
            ("docker://user:pw@reg:5000#x:1", "docker://user@reg:5000#x:1"),
            ("docker://u:p:w/#@?@reg/x", "docker://u@reg/x"),
            ("me@example.org:pw@reg#x", "me@example.org@reg#x"),
            (":pw@reg#x", "@reg#x"),
            ("user@reg:5000#x:1", "user@reg:5000#x:1"),
            ("reg:5000/x:1", "reg:5000/x:1"),
            ("ubuntu:24.04", "ubuntu:24.04"),
            ("oci-archive:/a@b.tar", "oci-archive:/a@b.tar"),
            ("oci:./a@b", "oci:./a@b"),
            ("oci:pw@reg#x", "oci@reg#x"),
            ("dockerd://a:b", "dockerd://a:b"),
        ] {
            let got = |image: &str| {
                String::from_utf8(without_password(image.as_bytes()).into_owned()).unwrap()
            };
            assert_eq!(got(image), without);
            for digest in [digest.as_str(), "@sha512:12"] {
                assert_eq!(got(&format!("{image}{digest}")), format!("{without}{digest}"));
            }
        }
    }

    #[test]
    fn passwords_of_urls_are_not_shown() {
        for (text, shown) in [
            (
                "cannot reach http://u:pw@proxy:3128/: refused",
                "cannot reach http://u:***@proxy:3128/: refused",
            ),
            ("docker://u:p@reg#x and https://a:b@c", "docker://u:***@reg#x and https://a:***@c"),
            ("docker://reg:5000/x@sha256:12", "docker://reg:5000/x@sha256:12"),
            ("https://user@host:1/", "https://user@host:1/"),
            ("no url: a@b", "no url: a@b"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
