//! A way to the database that a test can block.

use std::sync::Arc;

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
    if *way.borrow_and_update() == Way::Open {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
            _ = way.changed() => {}
        }
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
