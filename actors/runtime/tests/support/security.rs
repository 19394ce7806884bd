//! Runtimes that others reach over real connections.

use std::net::SocketAddr;

use tandem_proto::transport::{
    ClientSecurity, RequireToken, ServerSecurity, TlsIdentity, Token, incoming_with_streams, plain_server,
};
use tandem_runtime::PeerPort;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// What the workers of one cluster ask for and show.
#[derive(Clone)]
pub(crate) struct Security {
    pub(crate) server: ServerSecurity,
    pub(crate) client: ClientSecurity,
}

impl Security {
    pub(crate) fn clear() -> Self {
        let token = Token::generate();
        let client = ClientSecurity { token: Some(token.clone()), ca_pem: None };
        Self { server: ServerSecurity { token, tls: None }, client }
    }

    pub(crate) fn tls() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let mut security = Self::clear();
        let cert_pem = made.cert.pem().into_bytes();
        security.client.ca_pem = Some(cert_pem.clone());
        security.server.tls = Some(TlsIdentity { cert_pem, key_pem: made.signing_key.serialize_pem().into_bytes() });
        security
    }

    /// Serves a runtime to others until dropped.
    pub(crate) fn serve(&self, port: PeerPort, listener: TcpListener) -> AbortOnDropHandle<()> {
        let (lender, mut lending) = (port.clone(), JoinSet::new());
        let take = move |stream| drop(lending.spawn(lender.clone().lend(stream)));
        let incoming = incoming_with_streams(listener, &self.server, take).expect("certificates that can be used");
        let serving = plain_server()
            .layer(tonic::service::InterceptorLayer::new(RequireToken::new(self.server.token.clone())))
            .add_service(port.service())
            .serve_with_incoming(incoming);
        AbortOnDropHandle::new(tokio::spawn(async { serving.await.expect("a server") }))
    }
}

/// A port of this machine that nobody else has, or this one as soon as what was there is gone.
pub(crate) async fn listen(address: Option<SocketAddr>) -> (TcpListener, SocketAddr) {
    let wanted = address.unwrap_or(([127, 0, 0, 1], 0).into());
    let listener = loop {
        match TcpListener::bind(wanted).await {
            Ok(listener) => break listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
            Err(error) => panic!("no port: {error}"),
        }
    };
    let address = listener.local_addr().expect("an address");
    (listener, address)
}
