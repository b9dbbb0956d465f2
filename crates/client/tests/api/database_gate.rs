//! A way to the database that a test can block.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::database::TestDatabase;

/// How the way to the database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections end immediately.
    Cut,
    /// Connections stand, and nothing comes through.
    Silent,
    /// The host has vanished: nothing comes through, and the connections that there
    /// are stay silent also when there is another host.
    Vanished,
    /// A COMMIT of new rows comes through, and nothing comes back from then on.
    CommitUnanswered,
    /// The connection ends with a COMMIT that comes through.
    CommitCut,
}

/// A way to the database that a test can block.
pub struct Gate {
    way: Arc<watch::Sender<Way>>,
    pub database: TestDatabase,
}

impl Gate {
    pub async fn before(direct: &TestDatabase, way: Way) -> Self {
        let url = reqwest::Url::parse(&direct.url).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut database = TestDatabase::same_as(direct);
        let port = listener.local_addr().unwrap().port();
        database.url = database
            .url
            .replace(&format!(":{}/", server.1), &format!(":{port}/"));
        let way = Arc::new(watch::Sender::new(way));
        let watched = way.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(client, server.clone(), watched.subscribe()));
            }
        });
        Self { way, database }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// Connections do not outlive a change of the way, but hang while it is silent.
async fn forward(mut client: TcpStream, server: (String, u16), mut way: watch::Receiver<Way>) {
    // Held until the end: dropping it would say something to the database.
    let mut server = TcpStream::connect(server).await.unwrap();
    let now = *way.borrow_and_update();
    match now {
        Way::Open => tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
            _ = way.changed() => {}
        },
        Way::CommitUnanswered | Way::CommitCut => tokio::select! {
            () = until_commit(&mut client, &mut server) => match now {
                Way::CommitCut => return,
                _ => drop(way.changed().await),
            },
            _ = way.changed() => {}
        },
        Way::Cut | Way::Silent | Way::Vanished => {}
    }
    if *way.borrow_and_update() == Way::Vanished {
        std::future::pending::<()>().await;
    }
    while *way.borrow_and_update() == Way::Silent {
        if way.changed().await.is_err() {
            return;
        }
    }
}

/// Forwards until a COMMIT of something new that the client writes was passed on, or one of the two
/// has ended.
async fn until_commit(client: &mut TcpStream, server: &mut TcpStream) {
    let (mut asks, mut is_answered) = client.split();
    let (mut answers, mut is_asked) = server.split();
    let asking = async {
        let mut bytes = [0; 16 * 1024];
        let mut is_writing = false;
        while let Ok(read @ 1..) = asks.read(&mut bytes).await {
            is_asked.write_all(&bytes[..read]).await.unwrap();
            let has = |text: &[u8]| bytes[..read].windows(text.len()).any(|it| it == text);
            is_writing |= has(b"INSERT INTO ");
            if is_writing && has(b"COMMIT\0") {
                return;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        _ = tokio::io::copy(&mut answers, &mut is_answered) => {}
    }
}
