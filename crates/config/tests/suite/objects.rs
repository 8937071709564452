//! The objects of job files behave as tables of examples say (spec config-dsl part 7).

use crate::{beside, common};

/// Runs before the examples.
const SET_UP: &str = r#"
import json

class P(Struct):
  a = Default(String, 'x')
  n = Default(Integer, 2)

class Q(Struct):
  data = Default(String, 'x/{{environment}}')

class D(Struct):
  a = Default(String, 'd')
D1 = D

class D(Struct):
  a = Default(String, 'd')
D2 = D
D = D1

class B(P):
  def hello(self): return 'hello'

class R(Struct):
  p = P

results = []

def example(text):
  try:
    result = str(eval(text)).replace('\n', '\\n')
  except Exception as error:
    kinds = [('Coercion', String.CoercionError), ('InvalidRef', Ref.InvalidRefError), ('AttributeError', AttributeError),
             ('TypeError', TypeError), ('KeyError', KeyError), ('ValueError', ValueError)]
    names = [name for name, kind in kinds if isinstance(error, kind)]
    result = '!' + (names or [type(error).__name__])[0]
  # In hexadecimal, so that braces in a result are not taken for references of the job.
  results.append(Metadata(key=str(len(results)), value=result.encode().hex()))
"#;

const TAIL: &str = "
jobs = [Job(cluster='c', role='r', environment='devel', name='n', metadata=results,
            task=Task(processes=[Process(name='p', cmdline='true')]))]
";

/// Expressions and what they come to.
fn examples() -> Vec<(&'static str, &'static str)> {
    let examples: Vec<_> = include_str!("vectors/objects.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(" ==> ").unwrap_or_else(|| panic!("no arrow in {line}")))
        .collect();
    assert!(examples.len() > 400, "only {} examples were found", examples.len());
    examples
}

#[test]
fn examples_of_objects_come_out_under_the_original_as_written() {
    let files = common::Files::new();
    let expressions: Vec<&str> = examples().iter().map(|(expression, _)| *expression).collect();
    let list = files.write("expressions.json", &serde_json::to_string(&expressions).expect("texts are JSON"));
    let set_up = files.write("set_up.py", SET_UP);
    let found = beside::original("examples.py", &[beside::helpers().to_str().expect("a plain path"), &set_up, &list]);
    let found: Vec<String> = serde_json::from_str(&found).expect("a list of texts");
    assert_eq!(found.len(), expressions.len());
    let differing = examples().into_iter().zip(&found).filter(|((_, expected), found)| expected != found);
    let wrong: Vec<String> =
        differing.map(|((text, expected), found)| format!("{text}\n     gives {found}\n  not {expected}")).collect();
    assert!(wrong.is_empty(), "{} examples differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn examples_of_objects_come_out_as_written() {
    let examples = examples();
    let calls: Vec<String> =
        examples.iter().map(|(text, _)| format!("example({})", config::object::text_literal(text))).collect();
    let evaluation = common::evaluate(&format!("{SET_UP}{}{TAIL}", calls.join("\n")))
        .unwrap_or_else(|error| panic!("{}", error.render()));
    let content = evaluation.jobs[0].content.as_ref().expect("worked out");
    let results = content.raw["metadata"].as_array().expect("a list");
    assert_eq!(results.len(), examples.len());
    let mut wrong = Vec::new();
    for ((text, expected), result) in examples.iter().zip(results) {
        let found = from_hexadecimal(result["value"].as_str().expect("a text"));
        if found != *expected {
            wrong.push(format!("{text}\n     gives {found}\n  not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} examples differ:\n{}", wrong.len(), examples.len(), wrong.join("\n"));
}

fn from_hexadecimal(text: &str) -> String {
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits"));
    String::from_utf8(bytes.collect()).expect("text")
}
