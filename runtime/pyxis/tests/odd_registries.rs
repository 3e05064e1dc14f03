//! Registries as they are found: what they ask for, and what stands between.

mod common;
mod fixtures;
mod server;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use base64::Engine;
use fixtures::{Image, Layer, Place, hex, text};
use server::{Reply, Server};
use sha2::{Digest, Sha512};

fn image() -> Image {
    Image::new(&[Layer::new().file("a", "b").gzip()])
}

/// A file of the user's.
fn write(place: &Place, path: &str, content: &str) {
    let path = place.path("home").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn netrc(place: &Place, server: &Server, password: &str) {
    let line = format!("machine {} login user password {password}\n", server.host);
    write(place, ".config/enroot/.credentials", &line);
}

fn basic(user: &str, password: &str) -> String {
    let both = format!("{user}:{password}");
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(both))
}

#[test]
fn one_header_may_have_several_challenges() {
    for challenge in [
        r#"Basic realm="x", Bearer realm="http://HOST/token",service="s",scope="repository:a:pull""#,
        r#"Bearer realm="http://HOST/token",service="s", Basic realm="x""#,
        r#"Negotiate, NTLM TlRM==, Basic realm="a, Bearer realm=\"no\"", Bearer  realm = "http://HOST/token""#,
        "Digest realm=x, nonce=\"y\" ,,Bearer realm=http://HOST/token",
    ] {
        let place = Place::new();
        let server = Server::start(&image(), move |own, request| {
            if request.path.starts_with("/token") {
                return Some(Reply::body(r#"{"token": "t"}"#));
            }
            (request.authorization != "Bearer t")
                .then(|| Reply::challenge(&challenge.replace("HOST", own)))
        });
        place.ok(&["pull", &server.uri()]);
        assert_eq!(server.seen("/token"), [""], "{challenge}");
    }
}

#[test]
fn a_token_that_ends_is_replaced() {
    let place = Place::new();
    let server = Server::start(&image(), |own, request| {
        if request.path.starts_with("/token") {
            let body = format!(r#"{{"access_token": "t{}"}}"#, request.before);
            return Some(Reply::body(body));
        }
        // That of the manifest is worth nothing for blobs, which want a new one each.
        let good = match request.path.contains("/blobs/") {
            true => request.authorization != "Bearer t0" && request.before > 0,
            false => request.authorization.starts_with("Bearer "),
        };
        let text = format!("Bearer realm=\"http://{own}/token\", error=\"invalid_token\"");
        (!good).then(|| Reply::challenge(&text))
    });
    place.ok(&["pull", &server.uri()]);
    assert!(server.seen("/token").len() >= 2);
    // One that never is good is not asked for without end.
    let server = Server::start(&image(), |own, request| {
        let number = request.before;
        Some(match request.path.starts_with("/token") {
            true => Reply::body(format!(r#"{{"token": "t{number}"}}"#)),
            false => Reply::challenge(&format!("Bearer realm=\"http://{own}/token\"")),
        })
    });
    let error = place.fails(&["pull", &server.uri()]);
    assert!(error.contains("denies access to a"), "{error}");
    assert!(server.seen("/token").len() < 5);
}

/// Tries do not multiply: those for a token are those of the request that wants it.
#[test]
fn who_gives_no_token_is_asked_as_often_as_anybody() {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "1");
    let server = Server::start(&image(), |own, request| {
        Some(match request.path.starts_with("/token") {
            true => Reply::new("500 Internal Server Error", &[]),
            false => Reply::challenge(&format!("Bearer realm=\"http://{own}/token\"")),
        })
    });
    let error = place.fails(&["pull", &server.uri()]);
    assert!(
        error.contains("answered 500 Internal Server Error to the request for a token"),
        "{error}"
    );
    assert_eq!(server.seen("/token").len(), 2);
}

#[test]
fn a_password_is_shown_where_a_token_does_not_help() {
    let want = basic("user", "secret");
    // After the token the registry asks for a password.
    let place = Place::new();
    let wanted = want.clone();
    let server = Server::start(&image(), move |own, request| {
        if request.path.starts_with("/token") {
            return Some(Reply::body(r#"{"token": "t"}"#));
        }
        (request.authorization != wanted).then(|| match request.authorization.as_str() {
            "" => Reply::challenge(&format!("Bearer realm=\"http://{own}/token\"")),
            _ => Reply::challenge("Basic realm=\"x\""),
        })
    });
    netrc(&place, &server, "secret");
    place.ok(&["pull", &server.uri()]);
    // Both at once, and the token server is not there.
    let place = Place::new();
    let wanted = want.clone();
    let server = Server::start(&image(), move |own, request| {
        if request.path.starts_with("/token") {
            return Some(Reply::new("404 Not Found", &[]));
        }
        let both = format!("Bearer realm=\"http://{own}/token\", Basic realm=\"x\"");
        (request.authorization != wanted).then(|| Reply::challenge(&both))
    });
    netrc(&place, &server, "secret");
    place.ok(&["pull", &server.uri()]);
    // Without a password there is only the one.
    let error = Place::new().fails(&["pull", &server.uri()]);
    assert!(error.contains("has no a token"), "{error}");
}

#[test]
fn who_says_when_to_come_back_is_believed() {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "3");
    let begun = Instant::now();
    let server = Server::start(&image(), move |_, request| {
        let early = begun.elapsed() < Duration::from_secs(1);
        let after = vec!["retry-after: 1".to_owned()];
        (early && request.path.contains("/manifests/"))
            .then(|| Reply::new("429 Too Many Requests", &after))
    });
    place.ok(&["pull", &server.uri()]);
    assert!(server.seen("/manifests/").len() <= 4, "{}", server.seen("/manifests/").len());
    // Unavailable, and until a date that has been.
    let server = Server::start(&image(), |_, request| {
        let date = vec!["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT".to_owned()];
        (request.before < 3 && request.path.contains("/blobs/"))
            .then(|| Reply::new("503 Service Unavailable", &date))
    });
    place.ok(&["digest", &server.uri()]);
    place.ok(&["pull", &server.uri()]);
    // Not for as long as anybody says.
    for after in ["100000", "18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let headers = vec![format!("retry-after: {after}")];
        let server = Server::start(&image(), move |_, _| {
            Some(Reply::new("429 Too Many Requests", &headers))
        });
        let start = Instant::now();
        let error = place.fails(&["pull", &server.uri()]);
        assert!(error.contains("(not to be asked again for "), "{error}");
        assert!(start.elapsed() < Duration::from_secs(60), "it waited");
    }
}

/// It is asked no more often than who says nothing, and where nothing is to be tried again, once.
#[test]
fn who_says_at_once_is_asked_as_often_as_anybody() {
    for (status, after) in [
        ("429 Too Many Requests", "0"),
        ("503 Service Unavailable", "0"),
        ("429 Too Many Requests", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        let server = Server::start(&image(), move |_, _| {
            Some(Reply::new(status, &[format!("retry-after: {after}")]))
        });
        let mut asked = 0;
        for retries in [0, 2] {
            let mut place = Place::new();
            place.set("ENROOT_TRANSFER_RETRIES", &retries.to_string());
            let error = place.fails(&["digest", &server.uri()]);
            assert!(error.contains(status) && !error.contains("not to be asked"), "{error}");
            asked += retries + 1;
            assert_eq!(server.seen("/").len(), asked, "{status}, {after}, {retries}");
        }
    }
}

#[test]
fn a_web_page_is_called_one() {
    let page = "<!DOCTYPE html>\n<html><body>Please log in</body></html>";
    let kind = vec!["content-type: text/html; charset=utf-8".to_owned()];
    for what in ["/manifests/", "/blobs/sha256:CONFIG", "/blobs/sha256:LAYER", "/token"] {
        let place = Place::new();
        let image = image();
        let config = image.blobs.keys().find(|digest| !image.layers.contains(digest)).unwrap();
        let path = what.replace("CONFIG", config).replace("LAYER", &image.layers[0]);
        let kind = kind.clone();
        let server = Server::start(&image, move |own, request| {
            if request.path.contains(&path) {
                return Some(Reply { body: page.into(), ..Reply::new("200 OK", &kind) });
            }
            let wants = path == "/token" && request.authorization.is_empty();
            wants.then(|| Reply::challenge(&format!("Bearer realm=\"http://{own}/token\"")))
        });
        let error = place.fails(&["pull", &server.uri()]);
        assert!(error.contains("sent a web page for"), "{what}: {error}");
        assert!(error.contains("is no proxy or portal in the way?"), "{what}: {error}");
    }
    let place = Place::new();
    let server = Server::start(&image(), move |_, _| {
        Some(Reply { body: page.into(), ..Reply::new("403 Forbidden", &kind) })
    });
    let error = place.fails(&["pull", &server.uri()]);
    assert!(error.contains("with a web page, as no registry does"), "{error}");
}

/// Whoever a layer is of, if the registry may not pass it on.
#[test]
fn a_redirect_is_read_as_browsers_read_it() {
    let place = Place::new();
    let whole = image();
    let blobs = whole.blobs.clone();
    let server = Server::start(&whole, move |_, request| {
        if let Some(there) = request.path.strip_prefix("/v2/other/blobs/sha256:") {
            return Some(Reply::body(blobs.get(there.split('?').next()?)?.clone()));
        }
        let name = request.path.strip_prefix("/v2/a/blobs/")?;
        let location = format!("location: ../../../v2/./other/x/../blobs/{name}?sig=a b|\"c\"");
        Some(Reply::new("307 Temporary Redirect", &[location]))
    });
    place.ok(&["pull", &server.uri()]);
    assert!(!server.seen("/v2/other/blobs/").is_empty());
    assert!(!server.seen("?sig=a%20b%7C%22c%22").is_empty());
}

/// Nobody asks for it here, but some do it for everybody.
#[test]
fn documents_may_come_compressed() {
    let gzip = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        Reply {
            body: out.finish().unwrap(),
            ..Reply::new("200 OK", &["content-encoding: gzip".to_owned()])
        }
    };
    let place = Place::new();
    let whole = image();
    let (manifest, blobs) = (whole.manifest.clone(), whole.blobs.clone());
    let server = Server::start(&whole, move |own, request| {
        if request.path.starts_with("/token") {
            return Some(gzip(br#"{"token": "t"}"#));
        }
        if request.authorization != "Bearer t" {
            return Some(Reply::challenge(&format!("Bearer realm=\"http://{own}/token\"")));
        }
        if request.path.contains("/manifests/") {
            return Some(gzip(&manifest));
        }
        let blob = blobs.get(request.path.rsplit(':').next()?)?;
        // The layer is compressed once, and called so.
        Some(match blob.starts_with(b"{") {
            true => gzip(blob),
            false => Reply { body: blob.clone(), ..gzip(b"") },
        })
    });
    place.ok(&["pull", &server.uri()]);
}

#[test]
fn what_is_no_image_is_called_what_it_is() {
    let place = Place::new();
    let manifest = |config: &str, more: &str| {
        let digest = hex(b"{}");
        format!(
            r#"{{"schemaVersion": 2{more}, "config": {{"mediaType": "{config}", "digest": "sha256:{digest}",
                "size": 2}}, "layers": [{{"mediaType": "{config}", "digest": "sha256:{digest}", "size": 2}}]}}"#
        )
    };
    for (document, want) in [
        (
            manifest("application/vnd.cncf.helm.config.v1+json", ""),
            "no container image, but of \"application/vnd.cncf.helm.config.v1+json\"",
        ),
        (
            manifest("application/vnd.oci.empty.v1+json", r#", "artifactType": "application/x""#),
            "no container image, but of \"application/x\"",
        ),
        (r#"{"schemaVersion": 2, "manifests": []}"#.to_owned(), "the index has no image"),
    ] {
        let server = Server::start(&image(), move |_, request| {
            request.path.contains("/manifests/").then(|| Reply::body(document.clone()))
        });
        let error = place.fails(&["pull", &server.uri()]);
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn the_words_of_whoever_refuses_are_said() {
    let place = Place::new();
    for (status, body, want) in [
        ("400 Bad Request", "client certificate required\nx", "(client certificate required)"),
        ("403 Forbidden", r#"{"details": "incorrect password"}"#, "(incorrect password)"),
        ("404 Not Found", r#"{"error": "no such project"}"#, "(no such project)"),
        ("451 Unavailable", r#"{"error": {"message": "not here"}}"#, "(not here)"),
    ] {
        let server = Server::start(&image(), move |_, _| {
            Some(Reply { body: body.into(), ..Reply::new(status, &[]) })
        });
        let error = place.fails(&["pull", &server.uri()]);
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_foreign_layer_is_where_its_manifest_says() {
    let layer = Layer::new().file("foreign", "f").gzip();
    let digest = hex(&layer);
    let shop_image = Image::new(std::slice::from_ref(&layer));
    let served = layer.clone();
    let shop = Server::start(&shop_image, move |_, request| {
        Some(match request.path.as_str() {
            "/layer" => Reply::body(served.clone()),
            "/moved" => Reply::new("302 Found", &["location: /layer".to_owned()]),
            "/other" => Reply::body(vec![b'x'; served.len()]),
            _ => Reply::new("404 Not Found", &[]),
        })
    });
    let with_urls = |urls: &str| {
        let mut image = Image::new(std::slice::from_ref(&layer));
        let manifest = String::from_utf8(image.manifest.clone()).unwrap();
        let at = format!(r#""digest": "sha256:{digest}","#);
        assert!(manifest.contains(&at));
        let urls = urls.replace("SHOP", &shop.host);
        image.manifest = manifest.replace(&at, &format!("{at} \"urls\": [{urls}],")).into_bytes();
        image.blobs.remove(&digest);
        image
    };
    let password = |place: &Place, server: &Server| {
        let lines =
            [server, &shop].map(|one| format!("machine {} login user password secret\n", one.host));
        write(place, ".config/enroot/.credentials", &lines.concat());
    };
    for urls in [
        r#""http://SHOP/layer""#,
        r#""http://SHOP/none", null, "ftp://SHOP/layer", "http://SHOP/moved""#,
    ] {
        let place = Place::new();
        let server = Server::start(&with_urls(urls), |_, request| {
            request.authorization.is_empty().then(|| Reply::challenge("Basic realm=x"))
        });
        password(&place, &server);
        place.ok(&["import", "-o", "a.sqsh", &server.uri()]);
        assert_eq!(
            fs::read_to_string(place.unpack("a.sqsh", "root").join("foreign")).unwrap(),
            "f"
        );
        // What is for the registry is not for others.
        assert!(shop.seen("/").iter().all(String::is_empty), "{:?}", shop.seen("/"));
    }
    let place = Place::new();
    let server = Server::start(&with_urls(r#""http://SHOP/other""#), |_, _| None);
    let error = place.fails(&["pull", &server.uri()]);
    assert!(error.contains("damaged or tampered with"), "{error}");
    let server =
        Server::start(&with_urls(r#""http://SHOP/none", "file:///etc/passwd""#), |_, _| None);
    let error = place.fails(&["pull", &server.uri()]);
    assert!(error.contains(&format!("{} has no sha256:{digest}", server.host)), "{error}");
}

#[test]
fn a_reference_may_be_by_sha512() {
    let place = Place::new();
    let image = image();
    let digits = |bytes: &[u8]| -> String {
        Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let digest = format!("sha512:{}", digits(&image.manifest));
    let server = Server::start(&image, |_, _| None);
    let uri = format!("docker://{}/a@{digest}", server.host);
    place.ok(&["import", "-o", "a.sqsh", &uri]);
    assert!(server.seen(&digest).len() == 1);
    // It is known by both of its digests.
    let path = place.ok(&["pull", &uri]);
    assert!(path.contains(&hex(&image.manifest)), "{path}");
    assert!(server.seen(&digest).len() == 1);
    let wrong = format!("docker://{}/a@sha512:{}", server.host, digits(b"other"));
    let error = place.fails(&["pull", &wrong]);
    assert!(error.contains("damaged or tampered with"), "{error}");
    let odd = format!("docker://{}/a@sha512:12", server.host);
    assert!(place.fails(&["pull", &odd]).contains("or sha512: and 128"));
}

#[test]
fn a_slash_before_the_image_means_the_registrys_own() {
    let place = Place::new();
    let server = Server::start(&image(), |_, _| None);
    for uri in ["HOST#/a:1", "HOST#a:1", "HOST/a:1"] {
        place.ok(&["digest", &format!("docker://{}", uri.replace("HOST", &server.host))]);
    }
    assert_eq!(server.seen("/v2/a/manifests/1").len(), 3);
}

/// A registry that gives everybody a token, and none to who shows a password.
fn for_everybody() -> Server {
    Server::start(&image(), |own, request| {
        if request.path.starts_with("/token") {
            return Some(match request.authorization.as_str() {
                "" => Reply::body(r#"{"token": "t"}"#),
                _ => Reply::new("401 Unauthorized", &[]),
            });
        }
        (request.authorization != "Bearer t")
            .then(|| Reply::challenge(&format!("Bearer realm=\"http://{own}/token\"")))
    })
}

/// A file of credentials that is of no use: the image is for everybody.
#[test]
fn odd_credentials_are_a_warning() {
    let server = for_everybody();
    let docker = ".docker/config.json";
    let enroot = ".config/enroot/.credentials";
    let host = server.host.clone();
    for (file, content, mode, warns) in [
        (docker, "{\"auths\": null}", 0o600, false),
        (docker, "{\"auths\": {\"HOST\": null}, \"credsStore\": null}", 0o600, false),
        (docker, "{\"auths\": {\"HOST\": {}}, \"credHelpers\": null}", 0o600, false),
        (docker, "", 0o600, false),
        (docker, "{\"auths\": []}", 0o600, true),
        (docker, "not json", 0o600, true),
        (docker, "{\"auths\": {\"HOST\": {\"auth\": 5}}}", 0o600, true),
        (docker, "{\"credHelpers\": {\"HOST\": \"is-not-there\"}}", 0o600, true),
        (docker, "{\"credsStore\": \"is-not-there\"}", 0o600, false),
        (docker, "DIRECTORY", 0o755, true),
        (enroot, "DIRECTORY", 0o755, true),
        (docker, "LINK /dev/zero", 0o600, true),
        (enroot, "LINK /dev/zero", 0o600, true),
        (docker, "FIFO", 0o600, true),
        (enroot, "FIFO", 0o600, true),
        (enroot, "machine HOST login u password $(cat secret)\n", 0o666, true),
        (enroot, "nothing of the kind\n", 0o600, false),
    ] {
        let place = Place::new();
        let path = place.path("home").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if content == "DIRECTORY" {
            fs::create_dir(&path).unwrap();
        } else if let Some(to) = content.strip_prefix("LINK ") {
            std::os::unix::fs::symlink(to, &path).unwrap();
        } else if content == "FIFO" {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        } else {
            write(&place, file, &content.replace("HOST", &host));
        }
        if !content.starts_with("LINK") {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let output = place.run(&["pull", &server.uri()]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{content}: {said}");
        assert_eq!(said.contains("[WARN] "), warns, "{content}: {said}");
        assert!(said.matches("[WARN] ").count() <= 1, "{content}: {said}");
    }
    // Whoever names a user wants that user's password.
    let place = Place::new();
    write(&place, docker, "not json");
    let error = place.run(&["pull", &server.uri().replace("docker://", "docker://me@")]);
    assert!(text(&error.stderr).contains("no password for user me"), "{}", text(&error.stderr));
}

/// What `sudo docker login` leaves in a home is root's.
#[test]
fn credentials_that_somebody_else_has_closed_are_a_warning() {
    let server = for_everybody();
    for closed in [
        ".docker/config.json",
        ".docker",
        ".config/enroot/.credentials",
        ".config/containers/auth.json",
    ] {
        // Somebody else than who runs the tests, where root does.
        let place = common::Place::new();
        let path = place.path("home").join(closed);
        if closed == ".docker" {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("config.json"), "{}").unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "{}").unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let mut command = place.pyxis(["pull", &server.uri()]);
        let output = command.env("ENROOT_ALLOW_HTTP", "yes").output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{closed}: {said}");
        assert_eq!(said.matches("[WARN] ").count(), 1, "{closed}: {said}");
        assert!(said.contains(closed), "{closed}: {said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn a_secret_is_sent_as_it_is() {
    for (password, want) in [
        (r#"$(printf '%s' '{"k":"a\nb  c * d"}')"#, r#"{"k":"a\nb  c * d"}"#),
        ("$(cat key.json)", "{\n  \"k\": \"a\\nb\",\n  \"t\": \"*\\t?\"\n}"),
        ("$SECRET", " two  blanks * "),
        ("pl@in:word\\n", "pl@in:word\\n"),
    ] {
        let mut place = Place::new();
        fs::write(place.path("key.json"), "{\n  \"k\": \"a\\nb\",\n  \"t\": \"*\\t?\"\n}\n")
            .unwrap();
        place.set("SECRET", " two  blanks * ");
        let server = Server::start(&image(), |_, request| {
            request.authorization.is_empty().then(|| Reply::challenge("Basic realm=x"))
        });
        netrc(&place, &server, password);
        place.ok(&["pull", &server.uri()]);
        let seen = server.seen("/blobs/");
        assert!(!seen.is_empty());
        assert!(seen.iter().all(|seen| *seen == basic("user", want)), "{password}: {seen:?}");
    }
}

#[test]
fn a_registrys_own_certificates_are_where_others_have_them() {
    let place = Place::new();
    let made = place.path("made");
    fixtures::certificates(&made);
    let path = |name: &str| made.join(name).display().to_string();
    let tls = |more: &str| {
        let (cert, key) = (path("server.cert"), path("server.key"));
        fixtures::Registry::with_tls(&format!("certificate: {cert}, key: {key}{more}"), &made)
    };
    let (open, closed) = (tls(""), tls(&format!(", clientcas: [{}]", path("ca.crt"))));
    let mut quick = Place::new();
    quick.set("ENROOT_ALLOW_HTTP", "no");
    quick.set("ENROOT_TRANSFER_RETRIES", "0");
    let pull = |uri: &str| quick.run(&["digest", uri]);
    let folder = |host: &str| quick.path("home/.config/containers/certs.d").join(host);
    let give = |host: &str, names: &[&str]| {
        let _ = fs::remove_dir_all(folder(host));
        fs::create_dir_all(folder(host)).unwrap();
        for name in names {
            fs::copy(made.join(name), folder(host).join(name)).unwrap();
        }
    };
    let uris = [&open, &closed].map(|registry| registry.push(&image(), "a:1"));
    assert!(!pull(&uris[0]).status.success(), "nobody knows the authority");
    give(&open.host, &["ca.crt"]);
    give(&closed.host, &["ca.crt"]);
    assert!(pull(&uris[0]).status.success(), "{}", text(&pull(&uris[0]).stderr));
    assert!(!pull(&uris[1]).status.success(), "it shows nothing of its own");
    give(&closed.host, &["ca.crt", "client.cert", "client.key"]);
    assert!(pull(&uris[1]).status.success(), "{}", text(&pull(&uris[1]).stderr));
    // A file of no use is a warning.
    fs::write(folder(&open.host).join("bad.crt"), "no certificate").unwrap();
    let said = text(&pull(&uris[0]).stderr);
    assert!(said.contains("[WARN] ") && said.contains("bad.crt: it has no certificate"), "{said}");
    assert!(pull(&uris[0]).status.success(), "{said}");
    give(&closed.host, &["ca.crt", "client.cert"]);
    let said = text(&pull(&uris[1]).stderr);
    assert!(said.contains("client.key: No such file"), "{said}");
    // A key is often root's alone, where the authority is everybody's.
    give(&open.host, &["ca.crt", "client.cert"]);
    let said = pull(&uris[0]);
    assert!(said.status.success(), "{}", text(&said.stderr));
}

/// What a registry gives only to who has a certificate is not for those who have none.
#[test]
fn what_a_certificate_has_opened_is_private() {
    let mut place = Place::new();
    let made = place.path("made");
    let registry = fixtures::Registry::for_certificates(&made);
    place.set("ENROOT_ALLOW_HTTP", "no");
    registry.give_certificates(&made, &place.path("home"));
    let image = image();
    let uri = registry.push(&image, "a:1");
    place.ok(&["pull", &uri]);
    let list: serde_json::Value = serde_json::from_str(&place.ok(&["images", "--json"])).unwrap();
    assert_eq!(list[0]["private"], true, "{list}");
}
