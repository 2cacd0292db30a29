use super::*;

fn words(line: &str) -> Vec<String> {
    let common = "--etcd-servers=https://127.0.0.1:2379 --service-account-issuer=https://kubernetes.default.svc.cluster.local \
                  --service-account-signing-key-file=/sa.key --service-account-key-file=/sa.pub";
    common.split_whitespace().chain(line.split_whitespace()).map(str::to_owned).collect()
}

fn files(path: &str) -> Result<String, String> {
    let authn = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  \
                 conditions:\n  - path: /livez\n";
    match path {
        "/sa.key" | "/sa.pub" => Ok("-----BEGIN PUBLIC KEY-----\n".to_owned()),
        "/authn" => Ok(authn.to_owned()),
        "/authn-paths" => Ok(authn.replace("path:", "paths:")),
        "/authn-off" => Ok(authn.replace("true", "false")),
        _ => Err(format!("open {path}: no such file or directory")),
    }
}

fn read(line: &str) -> Result<Configuration, Failure> {
    Configuration::read(&words(line), &files)
}

fn why(line: &str) -> String {
    match read(line) {
        Err(Failure::Usage(why) | Failure::Start(why)) => why,
        Ok(_) => panic!("`{line}` is taken"),
    }
}

#[test]
fn wrong_values_are_refused_in_the_words_of_a_real_server() {
    for (line, words) in [
        ("--authorization-mode=Node,RBACC", r#"authorization-mode "RBACC" is not a valid mode"#),
        (
            "--secure-port=0",
            "--secure-port 0 must be between 1 and 65535, inclusive. It cannot be turned off with 0",
        ),
        ("--client-ca-file=/nope", "open /nope: no such file or directory"),
        ("--tls-cert-file=/nope --tls-private-key-file=/nope", "open /nope: no such file or directory"),
        ("--token-auth-file=/nope", "open /nope: no such file or directory"),
        (
            "--enable-admission-plugins=NodeRestrict",
            r#"enable-admission-plugins plugin "NodeRestrict" is unknown"#,
        ),
        (
            "--enable-admission-plugins=NodeRestriction --disable-admission-plugins=NodeRestriction",
            "[NodeRestriction] in enable-admission-plugins and disable-admission-plugins overlapped",
        ),
        (
            "--enable-admission-plugins=ImagePolicyWebhook",
            r#"failed to apply admission: couldn't init admission plugin "ImagePolicyWebhook": no config specified"#,
        ),
        ("--tls-cipher-suites=TLS_FOO", "Cipher suite TLS_FOO not supported or doesn't exist"),
        ("--tls-min-version=VersionTLS14", r#"unknown tls version "VersionTLS14""#),
        (
            "--authentication-config=/authn --anonymous-auth=false",
            "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication \
             configuration file",
        ),
        (
            "--authentication-config=/authn-paths",
            "failed to load authentication configuration from file \"/authn-paths\": strict decoding error: unknown field \
             \"anonymous.conditions[0].paths\"",
        ),
        (
            "--authentication-config=/authn-off",
            "invalid authentication configuration: anonymous.conditions: Invalid value: [{\"Path\":\"/livez\"}]: enabled \
             should be set to true when conditions are defined",
        ),
        (
            "--audit-policy-file=/etc/kubernetes/audit/policy.yaml",
            "loading audit policy file: failed to read file path \"/etc/kubernetes/audit/policy.yaml\": open \
             /etc/kubernetes/audit/policy.yaml: no such file or directory",
        ),
        (
            "--encryption-provider-config=/enc.yaml",
            "error while parsing file: error while loading file: error reading encryption provider configuration file \
             \"/enc.yaml\": open /enc.yaml: no such file or directory",
        ),
        (
            "--authorization-mode=Node,RBAC,Webhook",
            "authorization-mode Webhook's authorization config file not passed",
        ),
    ] {
        assert_eq!(why(line), words, "{line}");
    }
    assert!(matches!(read("--profilling=false"), Err(Failure::Usage(_))));
}

#[test]
fn who_needs_no_credentials_follows_from_flag_file_and_modes() {
    let anonymous = |line: &str| read(line).unwrap().anonymous;
    assert_eq!(anonymous("--authorization-mode=Node,RBAC"), Anonymous::Allowed);
    assert_eq!(anonymous("--authorization-mode=RBAC --anonymous-auth=false"), Anonymous::Refused);
    assert_eq!(anonymous("--authorization-mode=AlwaysAllow"), Anonymous::Refused);
    assert_eq!(
        anonymous("--authorization-mode=RBAC --authentication-config=/authn"),
        Anonymous::At(vec!["/livez".to_owned()])
    );
    // Without any mode everything is allowed.
    assert_eq!(read("").unwrap().modes, [Mode::AlwaysAllow]);
}
