//! A stream from the coordinator that is opened again when it breaks. Owned by whoever reads it.
//! Always holds: while [`Patience`] lasts a broken stream is renewed, and nobody is told of the break but by [`Heard::Again`].

use std::future::Future;

use tonic::{Status, Streaming};

use crate::client::Client;
use crate::error::{ClientError, is_broken_connection};
use crate::patience::Patience;

/// What is subscribed to. Asked again, it gives the same from its beginning or from now on.
pub(crate) trait Subscription {
    /// What comes.
    type Message;

    /// Opens the stream.
    fn subscribe(&self, client: &Client) -> impl Future<Output = Result<Streaming<Self::Message>, Status>> + Send;
}

/// See the module's header.
pub(crate) struct Renewed<S: Subscription> {
    client: Client,
    subscription: S,
    connection: Connection<S::Message>,
}

enum Connection<M> {
    Open(Streaming<M>),
    Broken { patience: Patience, reason: Status },
}

/// What was heard.
pub(crate) enum Heard<M> {
    /// A message.
    Message(M),
    /// The coordinator has ended the stream. It is kept open from this side.
    End,
    /// The stream broke and is a new one from here on.
    Again,
}

impl<S: Subscription> Renewed<S> {
    pub(crate) async fn start(client: Client, subscription: S) -> Result<Self, ClientError> {
        let connection = match subscription.subscribe(&client).await {
            Ok(stream) => Connection::Open(stream),
            Err(reason) if is_broken_connection(&reason) => Connection::broken(reason),
            Err(status) => return Err(ClientError::from_status(client.address(), &status)),
        };
        Ok(Self { client, subscription, connection })
    }

    /// What is heard next. May be dropped while waiting without losing a message.
    pub(crate) async fn next(&mut self) -> Result<Heard<S::Message>, ClientError> {
        loop {
            match &mut self.connection {
                Connection::Open(stream) => match stream.message().await {
                    Ok(Some(message)) => return Ok(Heard::Message(message)),
                    Ok(None) => return Ok(Heard::End),
                    Err(status) if is_broken_connection(&status) => self.broke(status),
                    Err(status) => return Err(ClientError::from_status(self.client.address(), &status)),
                },
                Connection::Broken { patience, reason } => {
                    if !patience.wait().await {
                        return Err(ClientError::from_status(self.client.address(), reason));
                    }
                    let subscribed = self.subscription.subscribe(&self.client);
                    match tokio::time::timeout_at(patience.until, subscribed).await {
                        Ok(Ok(stream)) => {
                            self.connection = Connection::Open(stream);
                            return Ok(Heard::Again);
                        }
                        Ok(Err(status)) if is_broken_connection(&status) => *reason = status,
                        Ok(Err(status)) => return Err(ClientError::from_status(self.client.address(), &status)),
                        Err(_) => return Err(ClientError::TimedOut(self.client.address().to_owned())),
                    }
                }
            }
        }
    }

    /// The stream is of no use any more: a new one is needed.
    pub(crate) fn broke(&mut self, reason: Status) {
        tracing::debug!(%reason, "a stream from the coordinator broke");
        self.connection = Connection::broken(reason);
    }
}

impl<M> Connection<M> {
    fn broken(reason: Status) -> Self {
        Self::Broken { patience: Patience::from_now(), reason }
    }
}
