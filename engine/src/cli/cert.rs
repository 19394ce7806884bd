//! `tandem cert create`: an authority of the user's own and a certificate that it signed, for clusters that others can reach.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::Failure;
use crate::output::tell;

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Make ca.pem, cert.pem and key.pem
    Create {
        /// Folder to write them to
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Name or address that clients and workers use for the machine; may be repeated
        #[arg(long, value_name = "NAME", default_value = "localhost")]
        host: Vec<String>,
    },
}

/// PEM texts by file name.
type Pems = [(&'static str, String, u32); 3];

pub(super) fn execute(command: &CertCommand) -> Result<(), Failure> {
    let CertCommand::Create { out, host } = command;
    let pems = create(host).map_err(|error| Failure::usage(format!("cannot make a certificate: {error}")))?;
    std::fs::create_dir_all(out).map_err(|error| cannot_write(out, &error))?;
    for (name, ..) in &pems {
        refuse_to_replace(&out.join(name), "folder")?;
    }
    for (name, pem, mode) in pems {
        let path = out.join(name);
        write_new(&path, &pem, mode).map_err(|error| cannot_write(&path, &error))?;
        tell!("wrote {}", path.display());
    }
    tell!("coordinator and workers: --tls-cert cert.pem --tls-key key.pem; everyone: --tls-ca ca.pem");
    Ok(())
}

fn create(hosts: &[String]) -> Result<Pems, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.distinguished_name.push(DnType::CommonName, "tandem authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(hosts.to_vec())?;
    server.distinguished_name.push(DnType::CommonName, "tandem");
    server.use_authority_key_identifier_extension = true;
    let certificate = server.signed_by(&key, &issuer)?;
    Ok([
        ("ca.pem", authority_pem, 0o644),
        ("cert.pem", certificate.pem(), 0o644),
        ("key.pem", key.serialize_pem(), 0o600),
    ])
}

/// Fails when there is a file already: what is in use cannot be made again. `what` is what else could be named.
pub(super) fn refuse_to_replace(path: &Path, what: &str) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::failed(format!("cannot write: {}: it exists already", path.display()))
        .with_help(format!("choose another {what} with --out")))
}

/// Replaces nothing that has come since it was looked for.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot write: {}: {error}", path.display()))
}
