//! What expressions give, what they refuse and in which words.

use serde_json::json;

use super::*;

fn run(source: &str) -> Result<Value, CelError> {
    run_with(source, json!({}))
}

fn run_with(source: &str, object: Value) -> Result<Value, CelError> {
    Program::compile(source)?.evaluate(&[("object".to_owned(), object)].into())
}

fn is_true(sources: &[&str]) {
    for source in sources {
        assert_eq!(run(source), Ok(Value::Bool(true)), "{source}");
    }
}

fn fails(source: &str, message: &str) {
    match run(source) {
        Err(CelError::Evaluate(reason)) => assert!(reason.contains(message), "{source}: {reason}"),
        other => panic!("{source}: {other:?}"),
    }
}

fn refused(source: &str, message: &str) {
    match Program::compile_with(source, &["object"]) {
        Err(CelError::Compile { message: said, .. }) => assert!(said.contains(message), "{source}: {said}"),
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn macros_are_all_there() {
    assert!(macros::add_to(&mut cel::Env::stdlib(), true).is_ok());
}

#[test]
fn operators_follow_the_language() {
    is_true(&[
        "1 + 2 * 3 == 7",
        "7 / 2 == 3 && 7 % 2 == 1 && -7 / 2 == -3",
        "dyn(1) == 1.0 && dyn(1u) == 1 && 2 > 1.5 && dyn(1u) < 2.5",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
        "!(1 in [2, 3]) && 'a' in {'a': 1} && 2 in [1, 2.0]",
        "dyn('1') != dyn(1) && null == null",
        "{'a': [1, {'b': 2}]} == {'a': [1.0, {'b': 2}]}",
        "(true ? 'x' : 'y') == 'x'",
        "[1, 2, 3][1] == 2 && {'a': 1}['a'] == 1 && {'a': {'b': 1}}.a.b == 1",
        "type(1) == int && type('a') == string && type([1]) == list && type(type(1)) == type",
        "size('é') == 1 && 'é'.size() == 1 && size([1, 2]) == 2 && size({'a': 1}) == 1",
    ]);
    fails("1 / 0", "division by zero");
    fails("1 % 0", "modulus by zero");
    fails("9223372036854775807 + 1", "integer overflow");
    fails("[1][5]", "index out of bounds: 5");
    fails("{'a': 1}['b']", "no such key: b");
    fails("dyn({'a': 1}).a.b", "no such key: b");
    fails("dyn(1) + dyn('a')", "no such overload");
}

#[test]
fn one_deciding_side_outweighs_a_fault() {
    is_true(&[
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1)",
        "!(1 / 0 == 1 && false)",
        "[1, 0].exists(x, 1 / x == 1)",
        "[0, 1].exists(x, 1 / x == 1)",
        "![0, 1].all(x, 1 / x == 2)",
    ]);
    fails("[0, 2].exists(x, 1 / x == 1)", "division by zero");
    fails("1 / 0 == 1 || false", "division by zero");
}

#[test]
fn macros_expand() {
    is_true(&[
        "[1, 2, 3].all(x, x > 0) && [1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 2)",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x > 1) == [2, 3]",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'a': 1}.map(k, k) == ['a']",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "[10, 20].all(i, v, v == (i + 1) * 10) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "[1, 1].existsOne(i, v, i == 1 && v == 1)",
        "[10, 20].transformList(i, v, i + v) == [10, 21]",
        "[10, 20].transformList(i, v, i > 0, v) == [20]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
        "{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}",
        "cel.bind(x, 2, x * x) == 4",
    ]);
    fails("['x', 'x'].transformMapEntry(i, v, {v: i})", "already exists");
}

#[test]
fn optionals_chain() {
    is_true(&[
        "{'a': {'b': 1}}.?a.?b == optional.of(1)",
        "{'a': {'b': 1}}.?a.b.orValue(0) == 1 && {}.?a.b.orValue(0) == 0",
        "{'a': 1}[?'a'].hasValue() && ![1][?3].hasValue()",
        "[?{}.?a, 2] == [2] && {?'a': {}.?b, 'c': 1} == {'c': 1}",
        "optional.of(2).optMap(x, x + 1).value() == 3",
        "optional.none().or(optional.of(1)).value() == 1",
        "!optional.ofNonZeroValue('').hasValue()",
        "{'k': {'s': 'v'}}.?k.optFlatMap(k, k.?s).value() == 'v'",
    ]);
    fails("optional.none().value()", "optional.none() dereference");
}

#[test]
fn texts() {
    is_true(&[
        "'hello'.charAt(1) == 'e' && 'hello'.indexOf('l') == 2 && 'hello'.indexOf('l', 3) == 3",
        "'hello'.lastIndexOf('l') == 3 && 'hello'.lastIndexOf('l', 2) == 2 && 'x'.indexOf('y') == -1",
        "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab'",
        "'AbC'.lowerAscii() == 'abc' && 'AbC'.upperAscii() == 'ABC'",
        "'a-b-c'.replace('-', '+') == 'a+b+c' && 'a-b-c'.replace('-', '+', 1) == 'a+b-c'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'hello'.substring(1, 3) == 'el' && 'hello'.substring(3) == 'lo' && ' x '.trim() == 'x'",
        "'%s is %d, %.2f, %x'.format(['a', 5, 1.5, 255]) == 'a is 5, 1.50, ff'",
        "'%s'.format([[1, {'a': true}]]) == '[1, {a: true}]' && '%%'.format([]) == '%'",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'abc'.matches('^a') && matches('abc', 'b') && !'abc'.matches('^b')",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22']",
        "'a1b22'.findAll('[0-9]+', 1) == ['1'] && 'x'.find('y') == ''",
        "'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c')",
    ]);
    fails("'a'.charAt(5)", "index out of range: 5");
    fails("'a'.matches('(' + '')", "error parsing regexp");
    refused("'a'.matches('(')", "ERROR: <input>:1:13: invalid matches argument");
    refused("duration('1x')", "invalid duration argument");
}

#[test]
fn conversions_and_times() {
    is_true(&[
        "int('5') == 5 && string(1.5) == '1.5' && double('1.5') == 1.5 && uint(3) == 3u",
        "string(1000000.0) == '1000000' && string(true) == 'true' && bool('true')",
        "timestamp('2024-02-29T12:30:00Z').getMonth() == 1",
        "timestamp('2024-02-29T12:30:00Z').getDate() == 29",
        "timestamp('2024-02-29T12:30:00Z').getHours('+02:00') == 14",
        "timestamp('2024-01-01T00:00:00Z') + duration('36h') == timestamp('2024-01-02T12:00:00Z')",
        "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
        "duration('90m').getHours() == 1 && string(duration('90m')) == '5400s'",
        "duration('1h') < duration('61m')",
    ]);
    fails("int('x')", "type conversion error from 'string' to 'int'");
}

#[test]
fn lists_and_sets() {
    is_true(&[
        "[1, 2, 3].isSorted() && ![2, 1].isSorted() && [1, 2].sum() == 3 && ['b', 'a'].min() == 'a'",
        "[1, 3, 2].max() == 3 && [1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2",
        "sets.contains([1, 2, 3], [1, 2.0]) && sets.equivalent([1, 1, 2], [2, 1]) && sets.intersects([1], [1, 2])",
        "!sets.contains([1], [2]) && !sets.intersects([1], [])",
    ]);
    fails("dyn([]).min()", "min called on empty list");
}

#[test]
fn kubernetes_library() {
    is_true(&[
        "quantity('200M').compareTo(quantity('0.2G')) == 0 && quantity('50Mi').isGreaterThan(quantity('50M'))",
        "quantity('50k').add(quantity('20k')) == quantity('70k') && quantity('50k').sub(20000) == quantity('30k')",
        "isQuantity('1.3Gi') && !isQuantity('200K') && quantity('50k').asInteger() == 50000",
        "!quantity('9999999999999999999999999999999999999G').isInteger() && sign(quantity('-1')) == -1",
        "ip('192.168.0.1').family() == 4 && isIP('::1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4')",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')",
        "cidr('192.168.0.0/16').containsIP('192.168.10.1') && cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')",
        "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24') && cidr('::1/128').prefixLength() == 128",
        "!isCIDR('192.168.0.0/33') && string(cidr('10.0.0.0/8')) == '10.0.0.0/8'",
        "ip('169.254.169.254').isLinkLocalUnicast() && ip('127.0.0.1').isLoopback()",
        "url('https://u:p@example.com:80/a b?k=1&k=2#f').getHost() == 'example.com:80'",
        "url('https://example.com:80/a b?k=1&k=2').getEscapedPath() == '/a%20b'",
        "url('https://[::1]:80/?k=1&k=2').getQuery() == {'k': ['1', '2']} && url('https://[::1]:80/').getHostname() == '::1'",
        "isURL('/absolute-path') && !isURL('../relative') && !isURL('https://a:b:c/')",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.0', true).major() == 1 && !isSemver('v1.0')",
        "!format.dns1123Label().validate('abc').hasValue() && format.dns1123Label().validate('A').hasValue()",
        "format.named('uri').hasValue() && !format.named('unknown').hasValue()",
    ]);
}

#[test]
fn json_is_read_as_it_is() {
    let pod = json!({"metadata": {"labels": {"app.kubernetes.io/name": "x", "a_b": "y"}},
        "spec": {"replicas": 3, "ratio": 0.5, "none": null}});
    for source in [
        "object.metadata.labels['app.kubernetes.io/name'] == 'x' && object.metadata.labels.a_b == 'y'",
        "object.spec.replicas == 3 && object.spec.ratio == 0.5 && object.spec.none == null",
        "!has(object.spec.missing) && object.spec.?missing.orValue(7) == 7 && !has(object.spec.none.x)",
    ] {
        assert_eq!(run_with(source, pod.clone()), Ok(json!(true)), "{source}");
    }
    let error = run_with("object.metadata.labels['team'] != ''", pod).unwrap_err();
    assert_eq!(error.to_string(), "no such key: team");
}

#[test]
fn faults_are_told_in_the_words_of_kubernetes() {
    let error = Program::compile_with("object.spec.(", &["object"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ERROR: <input>:1:13: Syntax error: no viable alternative at input '.('\n | object.spec.(\n | ............^"
    );
    refused("objekt.spec", "ERROR: <input>:1:1: undeclared reference to 'objekt' (in container '')");
    refused(
        "'a' == 1",
        "ERROR: <input>:1:5: found no matching overload for '_==_' applied to '(string, int)'",
    );
    let error = Environment::new().compile("[1, 'a'] == []").unwrap_err().to_string();
    assert!(error.contains("ERROR: <input>:1:5: expected type 'int' but found 'string'"), "{error}");
    refused("'abc'.contains(1)", "found no matching overload for 'contains' applied to 'string.(int)'");
    refused("object.nothing(1)", "undeclared reference to 'nothing' (in container '')");
    refused("1.all(x, x)", "cannot be range of a comprehension");
    refused("cel.bind(x)", "undeclared reference to 'cel'");
    let environment =
        Environment::new().with("request", Type::object("Request", [("name".to_owned(), Type::String)]));
    let error = environment.compile("request.nam == 'a'").unwrap_err().to_string();
    assert!(error.contains("ERROR: <input>:1:8: undefined field 'nam'"), "{error}");
    assert!(environment.compile("cel.bind(x, 1, x)").is_err());
}

#[test]
fn types_are_known_before() {
    let of = |source: &str| Program::compile_with(source, &["object"]).unwrap().output().to_string();
    assert_eq!(of("object.spec.replicas <= 5"), "bool");
    assert_eq!(of("object.spec.replicas"), "dyn");
    assert_eq!(of("[1, 2].map(x, string(x))"), "list(string)");
    assert_eq!(of("object.?a.orValue('x')"), "dyn");
    assert_eq!(of("{'a': 1}.transformMap(k, v, k)"), "map(string, string)");
    assert_eq!(of("'a' in ['b'] ? 1 : 2"), "int");
    assert_eq!(of("quantity('1').add(1)"), "kubernetes.Quantity");
}

#[test]
fn what_is_too_large_is_refused_and_what_is_too_dear_ends() {
    let long = format!("{}1", "1 + ".repeat(20_000));
    assert!(Program::compile(&long).unwrap_err().to_string().contains("recursion limit exceeded"));
    let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(Program::compile(&deep).is_err());
    let chain = format!("{}1 > 0", "1 + ".repeat(120));
    is_true(&[&chain]);
    let clauses = format!("{}true", "'a.b' == 'a' + '.' + 'b' && ".repeat(200));
    is_true(&[&clauses]);
    let brackets = format!("{}1{}.size() == 1", "[".repeat(50), "]".repeat(50));
    is_true(&[&brackets]);
    let nested = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";
    let dear = format!(
        "{nested}.all(a, {nested}.all(b, {nested}.all(c, {nested}.all(d, {nested}.all(e, {nested}.all(f, a + b + c + d + e + f > 0))))))"
    );
    assert_eq!(run(&dear).unwrap_err().to_string(), "operation cancelled: actual cost limit exceeded");
}

#[test]
fn long_maps_take_linear_time() {
    let items: Vec<Value> = (0..20_000).map(Value::from).collect();
    let found = run_with("object.map(x, x + 1).filter(x, x % 2 == 0).size() == 10000", items.into());
    assert_eq!(found, Ok(json!(true)));
}

#[test]
fn names_with_dots_and_the_authorizer_are_asked_when_needed() {
    struct Host;
    impl Authorize for Host {
        fn authorize(&self, account: Option<(&str, &str)>, access: &Access) -> Decision {
            let allowed = account.is_none() && access.verb == "get" && access.resource == "pods";
            Decision { allowed, reason: "because".to_owned(), error: None }
        }
    }
    struct Lazy<'a>(&'a Host);
    impl<'a> Variables<'a> for Lazy<'a> {
        fn variable(&self, name: &str) -> Option<Result<Val<'a>, Fault>> {
            match name {
                "variables.good" => Some(Ok(Val::Int(4))),
                "variables.bad" => Some(Err(Fault::Error("it fails".to_owned()))),
                "authorizer" => Some(Ok(Val::Opaque(Opaque::Authorizer(Authorizer::new(self.0))))),
                _ => None,
            }
        }
        fn has_qualified(&self, root: &str) -> bool {
            root == "variables"
        }
    }
    let host = Host;
    let run = |source: &str| {
        let environment = Environment::new()
            .with("variables.good", Type::Int)
            .with("variables.bad", Type::Bool)
            .with("variables", Type::object("Variables", [("good".to_owned(), Type::Int)]))
            .with("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"));
        let mut budget = 10_000_000;
        environment
            .compile(source)
            .map_err(|error| error.to_string())?
            .run(&Lazy(&host), &mut budget)
            .map(|value| value.to_json())
            .map_err(|fault| fault.to_string())
    };
    assert_eq!(run("variables.good == 4 && has(variables.good)"), Ok(Some(json!(true))));
    assert_eq!(run("variables.bad"), Err("it fails".to_owned()));
    assert!(run("variables.other").unwrap_err().contains("undefined field 'other'"));
    let asked = "group('').resource('pods').namespace('a').check('get').allowed()";
    assert_eq!(run(&format!("authorizer.{asked}")), Ok(Some(json!(true))));
    assert_eq!(run(&format!("authorizer.serviceAccount('a', 'b').{asked}")), Ok(Some(json!(false))));
}

#[test]
fn a_variables_name_may_have_dots() {
    let environment = Environment::new().with("a", Type::Int).with("a.b", Type::String);
    let program = environment.compile("a.b == 'x' && a == 1").unwrap();
    let variables: BTreeMap<String, Val<'_>> =
        [("a".to_owned(), Val::Int(1)), ("a.b".to_owned(), "x".into())].into();
    let mut budget = CALL_LIMIT;
    assert!(matches!(program.run(&variables, &mut budget), Ok(Val::Bool(true))));
}

#[test]
fn no_more_than_a_hundred_faults_are_told() {
    let Err(CelError::Compile { message, .. }) = Environment::new().compile(&vec!["nope"; 150].join(" || "))
    else {
        panic!("it compiles")
    };
    assert_eq!(message.matches("ERROR:").count(), 100);
    assert!(message.ends_with("\n50 more errors were truncated"));
}
