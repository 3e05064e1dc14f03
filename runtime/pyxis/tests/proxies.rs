//! The way to a registry through proxies, and what is said where it ends.

mod fixtures;

use fixtures::{Image, Layer, Place, Registry};

fn image() -> Image {
    Image::new(&[Layer::new().file("etc/os", "x").gzip()])
}

#[test]
fn a_proxy_of_the_environment_is_used() {
    use std::io::{BufRead, BufReader, Write};
    let (mut place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image(), "a:1");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let (seen, asked) = std::sync::mpsc::channel();
    let target = registry.host.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let mut header = String::new();
            while reader.read_line(&mut header).unwrap() > 2 {
                header.clear();
            }
            seen.send(line).unwrap();
            let server = std::net::TcpStream::connect(&target).unwrap();
            (&client).write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
            let (mut up, mut down) = (server.try_clone().unwrap(), client);
            std::thread::spawn(move || std::io::copy(&mut reader, &mut up));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &server, &mut down);
                let _ = down.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    // The registry of the test talks http; the proxy of https is nobody's.
    place.set("http_proxy", &proxy);
    place.set("https_proxy", "http://127.0.0.1:1");
    place.set("ALL_PROXY", "http://127.0.0.1:1");
    // A name that only the proxy knows.
    let elsewhere = uri.replace(&registry.host, "registry.invalid:5000");
    place.ok(&["pull", &elsewhere]);
    assert_eq!(asked.recv().unwrap(), "CONNECT registry.invalid:5000 HTTP/1.1\r\n");
    // What curl reaches without it.
    while asked.try_recv().is_ok() {}
    place.set("no_proxy", "elsewhere, 127.0.0.0/8");
    place.ok(&["digest", &uri]);
    assert!(asked.try_recv().is_err(), "a proxy was asked for what needs none");
    place.set("no_proxy", "");
    place.ok(&["digest", &uri]);
    assert_eq!(asked.recv().unwrap(), format!("CONNECT {} HTTP/1.1\r\n", registry.host));
}

/// A proxy of SOCKS 5 that wants this name and password, if any, and leads whatever is asked for to one place. Its address,
/// and what was asked for.
fn socks(to: &str, secret: Option<&[u8]>) -> (String, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Result, Write};
    use std::net::{TcpListener, TcpStream};
    fn greet(client: &TcpStream, secret: Option<&[u8]>) -> Result<String> {
        let read = |count: usize| {
            let (mut bytes, mut input) = (vec![0; count], client);
            input.read_exact(&mut bytes).map(|()| bytes)
        };
        let methods = read(2)?[1];
        read(methods.into())?;
        (&*client).write_all(&[5, if secret.is_some() { 2 } else { 0 }])?;
        if let Some(secret) = secret {
            let right = read(secret.len())? == secret;
            (&*client).write_all(&[1, u8::from(!right)])?;
        }
        let kind = read(4)?[3];
        let asked = match kind {
            3 => {
                let length = read(1)?[0];
                String::from_utf8(read(length.into())?).unwrap()
            }
            _ => format!("{:?}", read(4)?),
        };
        read(2)?;
        (&*client).write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        Ok(asked)
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (seen, asked) = std::sync::mpsc::channel();
    let (to, secret) = (to.to_owned(), secret.map(<[u8]>::to_owned));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(asked) = greet(&client, secret.as_deref()) else { continue };
            seen.send(asked).unwrap();
            let server = TcpStream::connect(&to).unwrap();
            let (mut up, mut input) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut input, &mut up));
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &server, &mut &client);
                let _ = client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (address, asked)
}

#[test]
fn a_proxy_may_be_one_of_socks() {
    let (mut place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image(), "a:1");
    let elsewhere = uri.replace(&registry.host, "registry.invalid:5000");
    let (address, asked) = socks(&registry.host, None);
    // Whose names the proxy looks up, and whose the client does.
    place.set("all_proxy", &format!("socks5h://{address}"));
    place.ok(&["pull", &elsewhere]);
    assert_eq!(asked.recv().unwrap(), "registry.invalid");
    place.set("all_proxy", &format!("socks5://{address}"));
    place.ok(&["digest", &uri]);
    assert_eq!(asked.recv().unwrap(), "[127, 0, 0, 1]");
    let (address, asked) = socks(&registry.host, Some(b"\x01\x02me\x03p@s"));
    place.set("all_proxy", &format!("socks5h://me:p%40s@{address}"));
    place.ok(&["digest", &elsewhere]);
    assert_eq!(asked.recv().unwrap(), "registry.invalid");
}

#[test]
fn whoever_does_not_answer_is_named() {
    let mut place = Place::new();
    place.set("ENROOT_TRANSFER_RETRIES", "0");
    let uri = "docker://registry.invalid:5000/a:1";
    let error = place.fails(&["digest", uri]);
    assert!(error.contains("; is the registry's name right, and is there a proxy"), "{error}");
    // Where it is a proxy that is not there, nothing is wrong with the registry.
    let shut = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for proxy in [format!("http://u:secret@{shut}"), format!("socks5h://u:secret@{shut}")] {
        place.set("http_proxy", &proxy);
        let error = place.fails(&["digest", uri]);
        assert!(error.contains(&format!("; the proxy {shut} is asked for it")), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    place.set("no_proxy", "*");
    let error = place.fails(&["digest", uri]);
    assert!(!error.contains("the proxy "), "{error}");
}
