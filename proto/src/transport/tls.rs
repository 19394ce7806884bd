//! What TLS is made of on both sides of a connection.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::connect::ConnectError;
use super::listen::{TlsError, TlsIdentity};

/// How a listener shows `identity`, and which protocols may be spoken then: those that clients name in the handshake, the
/// first that both know.
pub(super) fn server_config(identity: &TlsIdentity, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |reason: String| TlsError::Unusable { reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.cert_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(format!("certificate: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem).map_err(|error| unusable(format!("key: {error}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| unusable(error.to_string()))?;
    config.alpn_protocols = names(protocols);
    Ok(Arc::new(config))
}

/// How a caller checks whom it speaks to: one of the certificates in `ca_pem` must have signed the other's.
pub(super) fn client_config(ca_pem: &[u8], protocols: &[&[u8]]) -> Result<Arc<ClientConfig>, ConnectError> {
    let unusable = |reason: String| ConnectError::Authority { reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = names(protocols);
    Ok(Arc::new(config))
}

fn names(protocols: &[&[u8]]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.to_vec()).collect()
}
