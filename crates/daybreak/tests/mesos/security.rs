//! Masters and agents that want to know who asks, and that speak TLS.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{Cluster, Plan, ROLE, not_run, release, takes_connections};
use crate::support::{Daemon, open_directory, wait_for, wire};

const SOON: Duration = Duration::from_secs(60);

/// Creates a service, waits until it runs and its output can be read, and kills it.
fn use_it(cluster: &Cluster, name: &str) {
    let job = wire::job(ROLE, name, 1, true, "echo seen; exec sleep 34580");
    let (code, message) = wire::create(&cluster.daemon.url, job).unwrap();
    assert_eq!(code, wire::OK, "{message}");
    let job = format!("devcluster/{ROLE}/devel/{name}");
    let id = cluster.wait_for_active(&job, "RUNNING", 1).remove(0);
    wait_for("its output", SOON, || (cluster.log(&id, "main", "stdout") == "seen\n").then_some(()));
    cluster.daemon.aurora(&["job", "killall", &job]).expect_code(0);
    cluster.wait_for_status(&job, "KILLED");
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn credentials() {
    let folder = open_directory();
    let folder = folder.path();
    let known = json!({"credentials": [{"principal": "aurora", "secret": "right"}]}).to_string();
    let file = write(folder, "credentials.json", &known);
    let secret = write(folder, "secret", "right\n");
    let key = write(folder, "jwt.key", "a key that only the agent knows");
    let (credentials, http_credentials) = (format!("--credentials={file}"), format!("--http_credentials={file}"));
    let jwt = format!("--jwt_secret_key={key}");
    let master = [
        "--authenticate_http_frameworks",
        "--http_framework_authenticators=basic",
        "--authenticate_http_readonly",
        "--authenticate_http_readwrite",
        &credentials,
    ];
    let agent = [
        "--authenticate_http_readonly",
        "--authenticate_http_readwrite",
        "--authenticate_http_executors",
        &http_credentials,
        &jwt,
    ];
    let curl = ["--user", "aurora:right"];
    let plan = Plan { master: &master, agent: &agent, curl: &curl, ..Plan::default() };
    let by_hand = ["--principal", "aurora", "--secret-file", &secret];
    {
        let mut cluster = Cluster::start(&Plan { daybreak: &by_hand, ..plan.clone() });
        use_it(&cluster, "proven");
        let state = cluster.state().unwrap();
        assert_eq!(state["frameworks"][0]["principal"], "aurora");
        // Without a name nobody sees anything.
        let nobody = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"])
            .arg(format!("http://127.0.0.1:{}/state", cluster.masters[0].port))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&nobody.stdout), "401");
        // The secret is changed for a wrong one: the next daemon says so and tasks are not given up.
        std::fs::write(&secret, "wrong\n").unwrap();
        cluster.daemon.kill_nine();
        cluster.daemon.restart();
        wait_for("a word in the log", SOON, || cluster.daemon.log().contains("401").then_some(()));
        std::fs::write(&secret, "right\n").unwrap();
        cluster.daemon.kill_nine();
        cluster.daemon.restart();
        use_it(&cluster, "again");
    }
    let aurora = write(
        folder,
        "framework.properties",
        "aurora_authentication_principal=aurora\naurora_authentication_secret=right\n",
    );
    let by_file = format!("-framework_authentication_file={aurora}");
    let cluster = Cluster::start(&Plan { daybreak: &[&by_file], ..plan });
    use_it(&cluster, "by-file");
}

fn openssl(folder: &Path, words: &str) {
    let output = Command::new("openssl").args(words.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
}

pub fn tls() {
    let folder = open_directory();
    let folder = folder.path();
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem");
    let names = write(folder, "names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    openssl(folder, "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout mesos.key -out mesos.csr");
    openssl(
        folder,
        &format!(
            "x509 -req -in mesos.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {names} -out mesos.pem"
        ),
    );
    openssl(folder, "req -newkey rsa:2048 -nodes -subj /CN=scheduler -keyout own.key -out own.csr");
    let kind = write(folder, "kind", "extendedKeyUsage=clientAuth\n");
    openssl(
        folder,
        &format!("x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {kind} -out own.pem"),
    );
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (ca, certificate, key) = (path("ca.pem"), path("mesos.pem"), path("mesos.key"));
    let (own, own_key) = (path("own.pem"), path("own.key"));
    let environment = [
        ("LIBPROCESS_SSL_ENABLED", "true"),
        // Executors have no certificates: they speak plain HTTP to the agent of their own machine, which has to let them. (Its domain
        // socket is no way out: with TLS the agent wants TLS there too, and ends with a segmentation fault when it gets something else.)
        ("LIBPROCESS_SSL_SUPPORT_DOWNGRADE", "true"),
        ("LIBPROCESS_SSL_CERT_FILE", &*certificate),
        ("LIBPROCESS_SSL_KEY_FILE", &*key),
        ("LIBPROCESS_SSL_CA_FILE", &*ca),
        ("LIBPROCESS_SSL_VERIFY_SERVER_CERT", "true"),
        ("LIBPROCESS_SSL_REQUIRE_CLIENT_CERT", "true"),
        ("LIBPROCESS_SSL_VERIFY_IPADD", "true"),
        ("LIBPROCESS_SSL_HOSTNAME_VALIDATION_SCHEME", "openssl"),
        // Of those that Mesos names itself none is safe enough for the TLS library.
        ("LIBPROCESS_SSL_CIPHERS", "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
    ];
    let curl = ["--cacert", &*ca, "--cert", &*own, "--key", &*own_key];
    let agent = ["--hostname=localhost"];
    // Proven without Daybreak, by connections of curl, one after the other. See docs/mesos.md.
    let alone = Plan { environment: &environment, curl: &curl, ..Plan::default() };
    if !takes_connections(&alone, 60) {
        not_run("this Mesos stops taking TLS connections after a few, as it does when it is built without libevent");
        return;
    }
    let daybreak =
        ["--mesos-tls", "--mesos-ca-file", &*ca, "--mesos-certificate-file", &*own, "--mesos-key-file", &*own_key];
    let cluster = Cluster::start(&Plan {
        daybreak: &daybreak,
        agent: &agent,
        environment: &environment,
        curl: &curl,
        ..Plan::default()
    });
    use_it(&cluster, "sealed");
    // Daybreak itself spoke TLS to both, and only to those that it can trust.
    let shown = cluster.daemon.get("/vars").1;
    assert!(shown.contains("framework_registered 1\n"), "{shown}");
    let other = open_directory();
    openssl(other.path(), "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout ca.key -out ca.pem");
    let ca = other.path().join("ca.pem");
    let master = format!("127.0.0.1:{}", cluster.masters[0].port);
    let words = ["--mesos-master", &master, "--mesos-tls", "--mesos-ca-file", ca.to_str().unwrap()];
    let stranger = Daemon::start_program(&release().join("daybreak"), open_directory(), &words);
    wait_for("a word in the log", SOON, || stranger.log().contains("UnknownIssuer").then_some(()));
}
