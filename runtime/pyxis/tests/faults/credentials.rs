//! Who is shown credentials, and who is not.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use base64::Engine;

use crate::fixtures::Place;
use crate::server::{Reply, Server, image, place};

fn log_in(place: &Place, machines: &[&str]) {
    std::fs::create_dir_all(place.path("home/.config/enroot")).unwrap();
    let file = place.path("home/.config/enroot/.credentials");
    let line = |machine: &&str| format!("machine {machine} login user password secret\n");
    std::fs::write(file, machines.iter().map(line).collect::<String>()).unwrap();
}

#[test]
fn a_redirect_to_another_host_gets_no_credentials() {
    let (mut place, image) = (place(), image());
    place.set("PYXIS_IDLE_TIMEOUT", "5");
    let leaked = Arc::new(Mutex::new(0));
    let (seen, blobs) = (Arc::clone(&leaked), image.blobs.clone());
    let elsewhere = Server::start(&image, move |request| {
        if request.authorization.is_some() {
            *seen.lock().unwrap() += 1;
        }
        Reply::Body(blobs[request.path.rsplit('/').next().unwrap()].clone())
    });
    // Another name for the same machine is another host.
    let other = elsewhere.host.replace("127.0.0.1", "localhost");
    let server = Server::start(&image, move |request| {
        if request.authorization.is_none() {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Reply::Status("401 Unauthorized", challenge);
        }
        match request.path.rsplit_once("/blobs/sha256:") {
            Some((_, hex)) => {
                let location = format!("http://{other}/{hex}");
                Reply::Status("307 Temporary Redirect", vec![("location", location)])
            }
            None => Reply::Good,
        }
    });
    log_in(&place, &[&server.host, &elsewhere.host, "127.0.0.1", "localhost"]);
    place.ok(&["pull", &server.uri()]);
    assert!(elsewhere.requests("/") >= 2);
    assert_eq!(*leaked.lock().unwrap(), 0);
}

/// Another program may listen there, perhaps another user's.
#[test]
fn a_redirect_to_another_port_gets_no_credentials() {
    let (place, image) = (place(), image());
    let leaked = Arc::new(Mutex::new(Vec::new()));
    let (seen, blobs) = (Arc::clone(&leaked), image.blobs.clone());
    let elsewhere = Server::start(&image, move |request| {
        seen.lock().unwrap().extend(request.authorization.clone());
        Reply::Body(blobs[request.path.rsplit('/').next().unwrap()].clone())
    });
    let other = elsewhere.host.clone();
    let token = Server::start(&image, |_| Reply::Body(br#"{"token": "abc"}"#.to_vec()));
    let realm = format!("Bearer realm=\"http://{}/token\"", token.host);
    let server = Server::start(&image, move |request| {
        if request.authorization.as_deref() != Some("Bearer abc") {
            return Reply::Status("401 Unauthorized", vec![("www-authenticate", realm.clone())]);
        }
        let location = match request.path.rsplit_once("/blobs/") {
            // Within the same place they are needed, also behind a relative path.
            Some((_, hex)) if !hex.contains("again") => format!("{hex}.again"),
            Some((_, hex)) => {
                let hex = hex.trim_start_matches("sha256:").trim_end_matches(".again");
                format!("http://{other}/{hex}")
            }
            None => return Reply::Good,
        };
        Reply::Status("307 Temporary Redirect", vec![("location", location)])
    });
    place.ok(&["pull", &server.uri()]);
    assert_eq!(server.requests(".again"), 2);
    assert_eq!(elsewhere.requests("/"), 2);
    assert_eq!(*leaked.lock().unwrap(), [""; 0]);
}

/// Another program may listen there, perhaps another user's, and ask for a password.
#[test]
fn a_password_is_for_one_port() {
    let (place, image) = (place(), image());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    let server = Server::start(&image, move |request| match &request.authorization {
        None => {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            Reply::Status("401 Unauthorized", challenge)
        }
        Some(header) => {
            all.lock().unwrap().push(header.clone());
            Reply::Good
        }
    });
    log_in(&place, &["127.0.0.1", "127.0.0.1:1"]);
    let line = place.fails(&["pull", &server.uri()]);
    let hint = format!("machine {} login USER password", server.host);
    assert!(line.contains("denies access") && line.contains(&hint), "{line}");
    assert_eq!(*seen.lock().unwrap(), [""; 0]);
    log_in(&place, &["127.0.0.1", &server.host]);
    place.ok(&["pull", &server.uri()]);
    assert!(!seen.lock().unwrap().is_empty());
}

/// A registry may be talked to without TLS, and name a token server that nobody said that of.
#[test]
fn a_password_does_not_go_over_plain_http_to_who_was_not_named() {
    let (mut place, image) = (place(), image());
    let seen = Arc::new(Mutex::new(0));
    let all = Arc::clone(&seen);
    let token = Server::start(&image, move |request| {
        *all.lock().unwrap() += usize::from(request.authorization.is_some());
        Reply::Body(br#"{"token": "abc"}"#.to_vec())
    });
    let realm = format!("Bearer realm=\"http://{}/token\"", token.host);
    let server = Server::start(&image, move |request| match request.authorization.as_deref() {
        Some("Bearer abc") => Reply::Good,
        _ => Reply::Status("401 Unauthorized", vec![("www-authenticate", realm.clone())]),
    });
    log_in(&place, &[&server.host]);
    place.set("ENROOT_ALLOW_HTTP", "no");
    place.set("PYXIS_HTTP_REGISTRIES", &server.host);
    let line = place.fails(&["pull", &server.uri()]);
    assert!(line.contains("plain http has to be allowed"), "{line}");
    assert_eq!((*seen.lock().unwrap(), token.requests("/")), (0, 0));
    place.set("PYXIS_HTTP_REGISTRIES", &format!("{},{}", server.host, token.host));
    place.ok(&["pull", &server.uri()]);
    assert!(*seen.lock().unwrap() > 0);
}

/// It could name a server of its own that asks for the user's password.
#[test]
fn who_is_redirected_to_is_not_logged_in_to() {
    let (mut place, image) = (place(), image());
    place.set("PYXIS_IDLE_TIMEOUT", "5");
    let token = Server::start(&image, |_| Reply::Body(br#"{"token": "abc"}"#.to_vec()));
    let realm = format!("Bearer realm=\"http://{}/token\"", token.host);
    let elsewhere = Server::start(&image, move |_| {
        Reply::Status("401 Unauthorized", vec![("www-authenticate", realm.clone())])
    });
    let other = elsewhere.host.clone();
    let server = Server::start(&image, move |request| match request.path.contains("/blobs/") {
        true => {
            Reply::Status("307 Temporary Redirect", vec![("location", format!("http://{other}/x"))])
        }
        false => Reply::Good,
    });
    log_in(&place, &[&server.host, &elsewhere.host, &token.host, "127.0.0.1"]);
    let line = place.fails(&["pull", &server.uri()]);
    let who = format!("{}, where {} redirects to, denies access", elsewhere.host, server.host);
    assert!(line.contains(&who) && line.contains("no credentials are sent there"), "{line}");
    assert_eq!(token.requests("/"), 0);
}

/// A registry names the place that gives tokens: with the password of that place it would get what it likes.
#[test]
fn who_names_a_token_server_gets_neither_its_password_nor_a_token_for_more_than_was_asked_for() {
    let image = image();
    let basic = |both: &str| format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(both));
    let (own, other) = (basic("user:own"), basic("user:other"));
    for challenges in [
        r#"Bearer realm="TOKEN/token",scope="repository:victim/private:pull,push""#,
        r#"Bearer realm="TOKEN/token",scope="repository:a:pull repository:victim/private:push""#,
        r#"Bearer realm="TOKEN/token?scope=repository:victim/private:push&sc%6fpe=x;scope=y",service="s""#,
        r#"Bearer realm="TOKEN/token?scope=repository:victim/private:push#""#,
        // What one challenge asks for is nothing to the next.
        r#"Bearer realm="TOKEN/gone", Basic realm="x""#,
        r#"Bearer realm="TOKEN/token", Basic realm="x""#,
        r#"Bearer realm="TOKEN/gone", Bearer realm="THIRD/token""#,
    ] {
        let place = place();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let start = |name: &'static str, challenge: Option<String>| {
            let seen = Arc::clone(&seen);
            Server::start(&image, move |request| {
                let header = request.authorization.clone().unwrap_or_default();
                seen.lock().unwrap().push((name, request.path.clone(), header));
                match &challenge {
                    Some(text) => {
                        let header = vec![("www-authenticate", text.clone())];
                        Reply::Status("401 Unauthorized", header)
                    }
                    None if request.path.starts_with("/gone") => {
                        Reply::Status("404 Not Found", Vec::new())
                    }
                    None => Reply::Body(br#"{"token": "abc"}"#.to_vec()),
                }
            })
        };
        let (token, third) = (start("token", None), start("third", None));
        let at = |server: &Server| format!("http://{}", server.host);
        let text = challenges.replace("TOKEN", &at(&token)).replace("THIRD", &at(&third));
        let evil = start("evil", Some(text));
        std::fs::create_dir_all(place.path("home/.config/enroot")).unwrap();
        let line = |server: &Server, password: &str| {
            format!("machine {} login user password {password}\n", server.host)
        };
        let lines = line(&evil, "own") + &line(&token, "other");
        std::fs::write(place.path("home/.config/enroot/.credentials"), lines).unwrap();
        place.fails(&["pull", &evil.uri()]);
        for (name, path, header) in seen.lock().unwrap().iter() {
            let shown = if *name == "token" { &other } else { &own };
            let told = [shown.as_str(), "Bearer abc", ""].contains(&header.as_str());
            assert!(told, "{challenges}: {name} got {header} for {path}");
            if *name != "evil" {
                let scopes: Vec<&str> = path.split(['?', '&', ';', '#']).skip(1).collect();
                let scopes: Vec<_> =
                    scopes.into_iter().filter(|pair| !pair.starts_with("service=")).collect();
                assert_eq!(scopes, ["scope=repository%3Aa%3Apull"], "{challenges}: {path}");
            }
        }
        assert!(token.requests("/") > 0, "{challenges}");
    }
}

/// Nobody's password is shown: a cache may pass on the challenge of the registry behind it, with its names.
#[test]
fn without_a_password_the_scope_is_the_registrys() {
    let image = image();
    let token = Server::start(&image, |_| Reply::Body(br#"{"token": "abc"}"#.to_vec()));
    let challenge = format!("Bearer realm=\"http://{}/token\",scope=\"aws\"", token.host);
    let server = Server::start(&image, move |request| match request.authorization {
        Some(_) => Reply::Good,
        None => Reply::Status("401 Unauthorized", vec![("www-authenticate", challenge.clone())]),
    });
    place().ok(&["pull", &server.uri()]);
    assert_eq!(token.requests("/token?scope=aws"), 1);
}

/// The manifest is remembered, the image is not to be had from where it is, and only the layer
/// takes credentials.
#[test]
fn an_image_made_again_is_as_private_as_what_it_took() {
    let (admin, mut user, image) = (place(), place(), image());
    let server = Server::start(&image, |request| {
        if request.authorization.is_none() && request.path.contains("/b/blobs/") {
            let challenge = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Reply::Status("401 Unauthorized", challenge);
        }
        Reply::Good
    });
    let mode = |path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for place in [&admin, &user] {
        log_in(place, &[&server.host]);
        std::fs::create_dir(place.path("store")).unwrap();
        mode(place.path("store"), 0o755);
    }
    let digest = image.digest();
    let hex = digest.trim_start_matches("sha256:");
    admin.ok(&["pull", &server.uri()]);
    // It took credentials there, of another repository.
    let description = admin.path("store/images").join(format!("{hex}.json"));
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replace("\"private\":false", "\"private\":true")).unwrap();
    std::fs::remove_file(admin.path("store/blobs").join(&image.layers[0])).unwrap();

    user.set("PYXIS_STORE_LOWER", admin.path("store").to_str().unwrap());
    user.ok(&["pull", &format!("docker://{}/b@{digest}", server.host)]);
    assert_eq!(server.requests("/b/manifests/"), 0, "the manifest was there");
    let description = user.path("store/images").join(format!("{hex}.json"));
    let text = std::fs::read_to_string(&description).unwrap();
    assert!(text.contains("\"private\":true"), "{text}");
    let image = user.path("store/images").join(format!("{hex}.sqsh"));
    assert_eq!(std::fs::metadata(image).unwrap().permissions().mode() & 0o777, 0o400);
}

#[test]
fn a_token_is_asked_for_once_and_used() {
    let (place, image) = (place(), image());
    let server = Server::start(&image, |request| {
        if request.path.starts_with("/token?") {
            assert!(request.path.contains("scope=repository%3Aa%3Apull"), "{}", request.path);
            return Reply::Body(br#"{"token": "", "access_token": "abc"}"#.to_vec());
        }
        if request.authorization.as_deref() == Some("Bearer abc") {
            return Reply::Good;
        }
        Reply::Status(
            "401 Unauthorized",
            vec![("www-authenticate", "Bearer realm=\"REALM\",service=\"s\"".to_owned())],
        )
    });
    // The realm has to name the port, which is known only now.
    let host = server.host.clone();
    let front = Server::start(&image, move |request| {
        if request.authorization.as_deref() == Some("Bearer abc") {
            return Reply::Good;
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        Reply::Status("401 Unauthorized", vec![("www-authenticate", challenge)])
    });
    place.ok(&["pull", &front.uri()]);
    assert_eq!(server.requests("/token?"), 1);
}
