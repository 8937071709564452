//! The rules of objects without an interpreter: what the tables of examples do not reach.

use super::*;

fn text(text: &str) -> Object {
    Object::construct(&Type::string(), Raw::text(text)).expect("a text")
}

fn bind(object: &Object, pairs: &[(&str, Raw)]) -> Object {
    let mut environment = Environment::default();
    for (name, value) in pairs {
        environment.bind_raw(&Raw::text(*name), value.clone()).expect("a binding");
    }
    object.bind(vec![Binding::Environment(environment.into())]).expect("bound")
}

#[test]
fn floats_are_shown_as_python_shows_them() {
    for (value, shown) in [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e+16"),
        (123456789012345680.0, "1.2345678901234568e+17"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (1e100, "1e+100"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
    ] {
        assert_eq!(float_text(value), shown);
    }
}

#[test]
fn texts_are_quoted_as_python_quotes_them() {
    for (value, shown) in [
        ("a", "'a'"),
        ("it's", "\"it's\""),
        ("it's \"so\"", "'it\\'s \"so\"'"),
        ("a\nb\t\\\u{1}", "'a\\nb\\t\\\\\\x01'"),
        ("ä{{x}}", "'ä{{x}}'"),
    ] {
        assert_eq!(text_literal(value), shown);
    }
}

#[test]
fn references_are_parsed_and_shown() {
    for address in ["a", "_a1.b", "thermos.ports[http]", "docker.image[library/python][2.7-slim]", "[0]", "l[-1]"] {
        assert_eq!(Reference::parse(address).expect(address).address(), address);
    }
    assert_eq!(Reference::parse(".Names").unwrap().to_string(), "{{Names}}");
    for bad in ["", " a", "a ", "a b", "a-b", "4", "a.4", "a.", "a[", "a[]", "a[b", "a]", "a[b c]", "a..b", "%x", "&"] {
        assert!(matches!(Reference::parse(bad), Err(Fault::InvalidReference(_))), "{bad}");
    }
}

#[test]
fn texts_are_taken_apart() {
    let reference = |address| Piece::Reference(Reference::parse(address).unwrap());
    assert_eq!(split("a {{b}} c").unwrap(), [Piece::Text("a "), reference("b"), Piece::Text(" c")]);
    assert_eq!(split("{{{x}}}").unwrap(), [Piece::Text("{"), reference("x"), Piece::Text("}")]);
    assert_eq!(split("{{&x&}}{{&&}}").unwrap(), [Piece::Escaped("x"), Piece::Escaped("&")]);
    assert_eq!(split("{{a[{{b}}]}}").unwrap(), [Piece::Text("{{a["), reference("b"), Piece::Text("]}}")]);
    for plain in ["", "{{}}", "{x}", "{{x}", "{ {x} }", "}}{{"] {
        assert!(split(plain).unwrap().iter().all(|piece| matches!(piece, Piece::Text(_))), "{plain}");
    }
}

#[test]
fn resolving_ends_even_when_it_leads_in_circles() {
    let circle = bind(&text("{{a}}"), &[("a", Raw::text("{{b}}")), ("b", Raw::text("x{{a}}"))]);
    assert!(matches!(circle.interpolate(), Err(Fault::Endless(_))));
    let grows = bind(&text("{{a}}"), &[("a", Raw::text("{{b}}{{b}}")), ("b", Raw::text("{{c}}"))]);
    assert_eq!(grows.text().unwrap(), "{{c}}{{c}}");
    let doubles = bind(&text("{{a}}"), &[("a", Raw::text("{{a}}{{a}}"))]);
    assert!(matches!(doubles.interpolate(), Err(Fault::Endless(_))));
    let mut deep = text("end");
    for _ in 0..500 {
        deep = bind(&text("{{next}}"), &[("next", Raw::Object(deep))]);
    }
    assert!(matches!(deep.interpolate(), Err(Fault::Endless(_))), "chains of objects have an end too");
}

#[test]
fn whole_numbers_are_read_as_python_reads_them() {
    let integer = |raw: Raw| Object::construct(&Type::integer(), raw).unwrap().text();
    for (written, value) in [(" 7\n", "7"), ("-12", "-12"), ("+3", "3"), ("1_000", "1000"), ("007", "7")] {
        assert_eq!(integer(Raw::text(written)).unwrap(), value);
    }
    let long = "9".repeat(40);
    assert_eq!(integer(Raw::text(&long)).unwrap(), long);
    assert_eq!(integer(Raw::Float(-1.9)).unwrap(), "-1");
    for bad in ["", " ", "_1", "1_", "1__0", "1.0", "0x10", "- 1", "--1", "1e5", "½"] {
        assert!(matches!(integer(Raw::text(bad)), Err(Fault::Coercion(_))), "{bad}");
    }
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(matches!(integer(Raw::Float(bad)), Err(Fault::Coercion(_))), "{bad}");
    }
}

#[test]
fn types_are_equal_by_what_is_in_them() {
    let structure = |default: &str| {
        let field = Field::new("a", &Type::string(), false, Some(Raw::text(default))).unwrap();
        Type::structure("S", vec![field])
    };
    assert_eq!(structure("x"), structure("x"));
    assert_ne!(structure("x"), structure("y"));
    assert_eq!(Type::list(&structure("x")), Type::list(&structure("x")));
    assert_ne!(Type::derived("S", &structure("x"), 1).unwrap(), structure("x"));
    assert_ne!(Type::derived("T", &structure("x"), 1).unwrap(), Type::derived("T", &structure("x"), 2).unwrap());
}

#[test]
fn json_is_sorted_and_refuses_what_it_cannot_hold() {
    let map = Type::map(&Type::string(), &Type::integer());
    let object = |pairs: Vec<(Raw, Raw)>| Object::construct(&map, Raw::Map(pairs)).unwrap().interpolate().unwrap().0;
    let sorted = object(vec![(Raw::text("b"), Raw::integer(2)), (Raw::text("a"), Raw::integer(1))]);
    assert_eq!(sorted.json().unwrap().to_string(), r#"{"a":1,"b":2}"#);
    let large = object(vec![(Raw::text("a"), Raw::text("9".repeat(30)))]);
    assert!(large.json().unwrap_err().message().contains("too large"));
    let float = Object::construct(&Type::float(), Raw::text("inf")).unwrap().interpolate().unwrap().0;
    assert!(float.json().is_err());
}

#[test]
fn the_line_of_a_struct_is_found_by_what_it_holds() {
    let schema = crate::schema::Schema::get();
    let origin = |line| Some(Origin { file: "f".into(), line, columns: None });
    let process = Raw::Map(vec![(Raw::text("cmdline"), Raw::text("echo {{x}}"))]);
    let process = Object::construct(schema.named("Process"), process).unwrap().made_at(origin(3));
    let task = Raw::Map(vec![
        (Raw::text("processes"), Raw::List(vec![process.into()])),
        (Raw::text("name"), Raw::text("{{y}}")),
    ]);
    let task = Object::construct(schema.named("Task"), task).unwrap().made_at(origin(7));
    let line = |text: &str| task.origin_of_text(text).map(|origin| origin.line);
    assert_eq!((line("{{x}}"), line("{{y}}"), line("{{z}}")), (Some(3), Some(7), None));
    let failed = task.check().unwrap().expect("no name");
    assert_eq!(failed.why, "Task[processes] failed: Element in ProcessList failed check: Process[name] is required.");
    assert_eq!(failed.origin.map(|origin| origin.line), Some(3));
}
