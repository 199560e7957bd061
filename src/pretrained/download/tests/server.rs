//! A server that follows a test's script on each connection.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What a server does with a connection.
pub(super) enum Reply {
    /// Sends this and closes.
    Send(Vec<u8>),
    /// Sends this, then nothing any more.
    SendAndHold(Vec<u8>),
    /// Sends the first, then the second again and again.
    SendForEver(Vec<u8>, Vec<u8>),
}

/// A server that sends its replies one after the other, then refuses connections.
pub(super) struct Server {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/weights", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        tokio::spawn(async move {
            for reply in replies {
                let (connection, _) = listener.accept().await.unwrap();
                let heard = Arc::clone(&heard);
                tokio::spawn(answer(connection, reply, heard));
            }
        });
        Self { url, requests }
    }

    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The `Range` and `If-Range` of each request.
    pub(super) fn ranges(&self) -> Vec<Option<(String, String)>> {
        let header = |request: &str, name: &str| {
            let line = request.lines().find(|line| line.to_lowercase().starts_with(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        let requests = self.requests();
        requests
            .iter()
            .map(|request| header(request, "range:").zip(header(request, "if-range:")))
            .collect()
    }
}

async fn answer(mut connection: TcpStream, reply: Reply, heard: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(connection.read_u8().await.unwrap());
    }
    heard.lock().unwrap().push(String::from_utf8(request).unwrap());
    // A client that has had enough is none of the server's business.
    match reply {
        Reply::Send(bytes) => {
            let _ = connection.write_all(&bytes).await;
        }
        Reply::SendAndHold(bytes) => {
            let _ = connection.write_all(&bytes).await;
            std::future::pending::<()>().await;
        }
        Reply::SendForEver(head, again) => {
            let _ = connection.write_all(&head).await;
            while connection.write_all(&again).await.is_ok() {}
        }
    }
}

pub(super) fn reply(head: &str, body: &[u8]) -> Vec<u8> {
    let head = head.replace('\n', "\r\n");
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat()
}

/// The whole file in this version, of which only `sent` bytes are sent.
pub(super) fn whole(version: &str, content: &[u8], sent: usize) -> Vec<u8> {
    let head = format!("200 OK\nETag: {version}\nContent-Length: {}", content.len());
    reply(&head, &content[..sent])
}

/// The file from `start` on, of which only the bytes before `end` are sent.
pub(super) fn part(version: &str, content: &[u8], start: usize, end: usize) -> Vec<u8> {
    let (last, total) = (content.len() - 1, content.len());
    let head = format!(
        "206 Partial Content\nETag: {version}\nContent-Range: bytes {start}-{last}/{total}\n\
         Content-Length: {}",
        total - start
    );
    reply(&head, &content[start..end])
}
