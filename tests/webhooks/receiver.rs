//! A receiver of webhooks with every vice: what it does depends on the path.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

pub(crate) struct Receiver {
    pub(crate) address: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    pub(crate) fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (all, resets) = (Arc::clone(&received), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, resets) = (Arc::clone(&all), Arc::clone(&resets));
                thread::spawn(move || {
                    let Some(request) = read(&stream, &resets) else { return };
                    all.lock().unwrap().push(request.clone());
                    respond(&request.path, stream);
                });
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests for `path` so far.
    pub(crate) fn received(&self, path: &str) -> Vec<Received> {
        let all = self.received.lock().unwrap();
        all.iter().filter(|request| request.path == path).cloned().collect()
    }
}

fn read(stream: &TcpStream, resets: &AtomicUsize) -> Option<Received> {
    // What is not read here stays in the socket.
    let mut reader = BufReader::with_capacity(1, stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    // The first time, the connection ends with a reset: the body is unread.
    if path == "/reset" && resets.fetch_add(1, Ordering::SeqCst) == 0 {
        return None;
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { path, headers, body: String::from_utf8(body).ok()? })
}

fn respond(path: &str, mut stream: TcpStream) {
    let mut write = |text: &str| stream.write_all(text.as_bytes());
    let _ = match path {
        "/ok" => write("HTTP/1.1 204 No Content\r\n\r\n"),
        "/slow" => {
            thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        "/dripping" => (0..600).try_for_each(|_| {
            thread::sleep(Duration::from_millis(100));
            write("H")
        }),
        "/garbage" => write("\u{0}\u{1}220 smtp.example.org ESMTP\r\n\r\n"),
        "/endless-success" | "/endless-error" => {
            let status = if path.ends_with("success") { "200 OK" } else { "500 Oops" };
            let begun = write(&format!("HTTP/1.1 {status}\r\n\r\n"));
            begun.and_then(|()| {
                loop {
                    write(&"endless ".repeat(1000))?;
                }
            })
        }
        "/endless-head" => write("HTTP/1.1 200 OK\r\n").and_then(|()| {
            loop {
                write("x-more: and more and more and more\r\n")?;
            }
        }),
        "/redirect" => write("HTTP/1.1 307 Temporary Redirect\r\nlocation: /ok\r\n\r\n"),
        "/gone" => write("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n"),
        "/busy" => write("HTTP/1.1 503 Busy\r\ncontent-length: 9\r\n\r\n<b>no</b>"),
        "/reset" => write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        _ => write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
    };
}
