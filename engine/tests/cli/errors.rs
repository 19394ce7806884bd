//! What goes wrong is one clear line and an exit code, and never a hang.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use tandem_proto::transport::{ClientSecurity, ServerSecurity, Token, connect, incoming, server};
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::cluster_service_server::{ClusterService, ClusterServiceServer};
use tandem_proto::v1::coordinator_message::Message as ToWorker;
use tandem_proto::v1::worker_message::Message as FromWorker;
use tandem_proto::v1::{
    Chunk, ClaimNameRequest, CoordinatorMessage, DropNameRequest, DropNameResponse, FindNameRequest, GetProgramRequest,
    GetStageRequest, JobProgram, LogAck, LogBatch, NamedActor, Register, Rejected, WorkerMessage,
};
use tonic::{Request, Response, Status, Streaming};

use crate::support::moto::Moto;
use crate::support::{Finished, Sandbox, wait_for};

#[test]
fn wrong_statements_show_where() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("t.csv", "k,v\na,1\nb,2\n");
    sandbox.write("empty.csv", "");
    let query = |sql: &str, table: &str| sandbox.run(&["sql", "-e", sql, "--table", table]);
    query("SELECT k FROM t WHER v > 1", "t=t.csv").ended_with(2).tells(&["line 1, column 22"]);
    query("SELECT zz FROM t", "t=t.csv").ended_with(2).tells(&["zz", "line 1, column 8", "help: valid fields are"]);
    query("SELECT k + 1 FROM t", "t=t.csv").ended_with(2).tells(&["line 1, column 8"]);
    query("SELECT * FROM t", "t=empty.csv").ended_with(2).tells(&["empty", "empty.csv"]);
    query("SELECT 1; SELECT 2", "t=t.csv").ended_with(2).tells(&["more than one"]);
    query("INSERT INTO t VALUES ('c', 3)", "t=t.csv").ended_with(2).tells(&["help: "]);
}

#[test]
fn a_statement_that_fails_while_it_runs_exits_with_1() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("t.csv", "k,v\na,1\nb,0\n");
    let failed = sandbox.run(&["sql", "-e", "SELECT 1 / v AS x FROM t", "--table", "t=t.csv"]).ended_with(1);
    failed.tells(&["division by zero", "stage 1", "task", "worker worker-1", "help: ", "tandem job tasks"]);
}

#[test]
fn storage_without_credentials_is_denied() {
    let sandbox = Sandbox::with_cluster(1);
    let args = ["sql", "-e", "SELECT * FROM t", "--table", "t=s3://bucket/t.csv"];
    sandbox.run(&args).ended_with(2).tells(&["s3://bucket", "AWS_ACCESS_KEY_ID"]);
}

#[test]
fn storage_that_denies_is_named() {
    let moto = match Moto::that_denies() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let sandbox = Sandbox::with_cluster(1).with_environment(moto.environment());
    let query = ["sql", "-e", "SELECT * FROM t", "--table", "t=s3://bucket/t.csv"];
    sandbox.run(&query).ended_with(2).tells(&["access denied", "s3://bucket/t.csv"]);
    let args = ["job", "submit", "sales", "--set", "output=s3://bucket/out"];
    sandbox.run(&args).ended_with(2).tells(&["access denied", "s3://bucket/out"]);
    let args = ["data", "gen", "sales", "--rows", "9", "--out", "s3://bucket/sales.csv"];
    sandbox.run(&args).ended_with(1).tells(&["s3://bucket/sales.csv"]);
}

/// `command` as a user whom the modes of files concern; root passes them by.
fn without_privileges(command: Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        return command;
    }
    let mut plain = Command::new("setpriv");
    plain.arg("--bounding-set=-dac_override,-dac_read_search").arg(command.get_program()).args(command.get_args());
    plain.current_dir(command.get_current_dir().expect("a working folder")).stdin(Stdio::null()).env_clear();
    plain.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    plain
}

#[test]
fn files_and_folders_that_may_not_be_used_are_named() {
    let sandbox = Sandbox::new();
    let run = |args: &[&str]| Finished::of(&mut without_privileges(sandbox.command(args)));
    run(&["cluster", "up", "--workers", "1", "--memory", "256MiB"]).succeeded();
    sandbox.write("closed/in.csv", "k,v\na,1\n");
    sandbox.write("secret.csv", "k,v\na,1\n");
    let close = |name: &str, mode: u32| {
        std::fs::set_permissions(sandbox.work().join(name), std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    close("closed", 0o000);
    close("secret.csv", 0o000);
    let query = |table: &str| run(&["sql", "-e", "SELECT * FROM t", "--table", table]);
    query("t=closed").ended_with(2).tells(&["closed", "ermission denied"]);
    query("t=closed/in.csv").ended_with(2).tells(&["closed/in.csv", "ermission denied"]);
    query("t=closed/*.csv").ended_with(2).tells(&["closed", "ermission denied"]);
    query("t=secret.csv").ended_with(2).tells(&["secret.csv", "ermission denied"]);
    let job = run(&["job", "submit", "sales", "--set", "output=closed/out"]).ended_with(2);
    job.tells(&["closed/out", "ermission denied"]);
    close("closed", 0o700);
}

#[test]
fn a_port_in_use_is_named() {
    let sandbox = Sandbox::new();
    sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, http) in [(address.as_str(), "127.0.0.1:0"), ("127.0.0.1:0", address.as_str())] {
        let args = ["coordinator", "--listen", listen, "--http", http, "--token-file", "token"];
        sandbox.run(&args).ended_with(1).tells(&[&address, "help: "]);
        let args = ["worker", "--coordinator", "127.0.0.1:1", "--listen", listen, "--http", http];
        let args = [&args[..], &["--token-file", "token", "--memory", "256MiB", "--spill-dir", "s"]].concat();
        sandbox.run(&args).ended_with(1).tells(&[&address, "help: "]);
    }
}

/// A coordinator that no supervisor keeps, and its address. Ends when dropped.
struct LoneCoordinator {
    process: Child,
    address: String,
}

impl LoneCoordinator {
    fn start(sandbox: &Sandbox) -> Self {
        sandbox.run(&["token", "create", "--out", "token"]).succeeded();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let address = free.to_string();
        let args = ["coordinator", "--listen", &address, "--http", "127.0.0.1:0", "--token-file", "token"];
        let process = sandbox.command(&args).stderr(Stdio::null()).spawn().expect("the binary runs");
        let coordinator = Self { process, address };
        wait_for("the start of the coordinator", || std::net::TcpStream::connect(free).is_ok());
        coordinator
    }

    /// What tells a command to use it.
    fn target(&self) -> [&str; 4] {
        ["--address", &self.address, "--token-file", "token"]
    }
}

impl Drop for LoneCoordinator {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the coordinator of this test keeps running: {error}");
        }
    }
}

#[test]
fn without_workers_nothing_waits_for_ever() {
    let sandbox = Sandbox::new();
    let coordinator = LoneCoordinator::start(&sandbox);
    let args = [&coordinator.target()[..], &["sql", "-e", "SELECT 1"]].concat();
    sandbox.run(&args).ended_with(1).tells(&["no worker", "help: "]);
    let args = [&coordinator.target()[..], &["verify"]].concat();
    sandbox.run(&args).ended_with(1).tells(&["0 workers ready, 1 needed"]);
}

/// A coordinator that will have no worker.
struct OtherVersion;

#[tonic::async_trait]
impl ClusterService for OtherVersion {
    type AttachStream = tokio_stream::Once<Result<CoordinatorMessage, Status>>;
    type GetStageStream = tokio_stream::Empty<Result<Chunk, Status>>;
    type ShipLogsStream = tokio_stream::Empty<Result<LogAck, Status>>;

    async fn attach(&self, _: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let reason = "the worker is version 1.0.0, the coordinator 2.0.0".to_owned();
        let rejected = CoordinatorMessage { epoch: 0, message: Some(ToWorker::Rejected(Rejected { reason })) };
        Ok(Response::new(tokio_stream::once(Ok(rejected))))
    }

    async fn get_stage(&self, _: Request<GetStageRequest>) -> Result<Response<Self::GetStageStream>, Status> {
        Err(Status::not_found("there is no stage"))
    }

    async fn get_program(&self, _: Request<GetProgramRequest>) -> Result<Response<JobProgram>, Status> {
        Err(Status::not_found("there is no job"))
    }

    async fn ship_logs(&self, _: Request<Streaming<LogBatch>>) -> Result<Response<Self::ShipLogsStream>, Status> {
        Err(Status::unimplemented("nothing is kept"))
    }

    async fn claim_name(&self, _: Request<ClaimNameRequest>) -> Result<Response<NamedActor>, Status> {
        Err(Status::unimplemented("there are no names"))
    }

    async fn find_name(&self, _: Request<FindNameRequest>) -> Result<Response<NamedActor>, Status> {
        Err(Status::unimplemented("there are no names"))
    }

    async fn drop_name(&self, _: Request<DropNameRequest>) -> Result<Response<DropNameResponse>, Status> {
        Err(Status::unimplemented("there are no names"))
    }
}

#[test]
fn processes_of_other_versions_do_not_work_together() {
    let sandbox = Sandbox::with_cluster(1);
    let token = Token::read(&sandbox.state().join("token")).expect("a token");
    let runtime = tokio::runtime::Runtime::new().expect("threads");

    // The coordinator turns the worker away …
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let security = ClientSecurity { token: Some(token.clone()), ca_pem: None };
    let answer = runtime.block_on(async {
        let channel = connect(status["address"].as_str().expect("an address"), &security).await.expect("a connection");
        let register = FromWorker::Register(Register { version: "9.9.9".to_owned(), slots: 1, ..Register::default() });
        let hello = tokio_stream::once(WorkerMessage { epoch: 0, message: Some(register) });
        let mut answers = ClusterServiceClient::new(channel).attach(hello).await.expect("a stream").into_inner();
        answers.message().await.expect("an answer").expect("an answer").message
    });
    let Some(ToWorker::Rejected(Rejected { reason })) = answer else { panic!("not rejected: {answer:?}") };
    assert!(reason.contains("9.9.9") && reason.contains(env!("CARGO_PKG_VERSION")), "{reason}");

    // … and a worker that is turned away ends and says why.
    let (listener, address) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        (listener, address)
    });
    let security = ServerSecurity { token, tls: None };
    let serving = async move {
        let mut server = server(&security).expect("a server");
        server.add_service(ClusterServiceServer::new(OtherVersion)).serve_with_incoming(incoming(listener)).await
    };
    runtime.spawn(serving);
    let token = sandbox.state().join("token");
    let args = ["worker", "--coordinator", &address, "--token-file", token.to_str().expect("a path")];
    let args = [&args[..], &["--memory", "256MiB", "--spill-dir", "s"]].concat();
    sandbox.run(&args).ended_with(1).tells(&["version 1.0.0", "2.0.0"]);
}

#[test]
fn a_worker_with_the_wrong_token_is_denied() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.run(&["token", "create", "--out", "token"]).succeeded();
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let address = status["address"].as_str().unwrap();
    let args = ["worker", "--coordinator", address, "--token-file", "token", "--memory", "256MiB", "--spill-dir", "s"];
    sandbox.run(&args).ended_with(5).tells(&[address, "token"]);
}
