//! Advice for exceptions and syntax errors that Python tells in few words, above all where a name or a habit of Python 2 is behind them.

use super::tokens::{Kind, tokens};

/// Advice when a bracket is open where a line begins that cannot be understood.
pub(crate) fn open_bracket_help(source: &str, line_number: usize) -> Option<String> {
    let source: Vec<char> = source.chars().collect();
    let mut open: Vec<(String, usize)> = Vec::new();
    for token in tokens(&source).into_iter().take_while(|token| token.line < line_number) {
        match (token.kind, token.text.as_str()) {
            (Kind::Sign, "(" | "[" | "{") => open.push((token.text, token.line)),
            (Kind::Sign, ")" | "]" | "}") => drop(open.pop()),
            _ => {}
        }
    }
    let (bracket, line) = open.pop()?;
    Some(format!("the '{bracket}' of line {line} is still open here: close it, or put a comma before this"))
}

/// Names of modules that are other ones today: the old name, what to write.
const MODULES: [(&str, &str); 24] = [
    ("HTMLParser", "the module is called html.parser in Python 3"),
    ("SimpleHTTPServer", "the module is called http.server in Python 3"),
    ("BaseHTTPServer", "the module is called http.server in Python 3"),
    ("SocketServer", "the module is called socketserver in Python 3"),
    ("cookielib", "the module is called http.cookiejar in Python 3"),
    ("copy_reg", "the module is called copyreg in Python 3"),
    ("dummy_thread", "use the module threading"),
    ("exceptions", "exceptions are known without an import"),
    ("htmlentitydefs", "the module is called html.entities in Python 3"),
    ("md5", "write import hashlib and hashlib.md5(...)"),
    ("new", "use the module types"),
    ("popen2", "use the module subprocess"),
    ("pkg_resources", "read files with open(), whose paths are taken from the working directory"),
    ("requests", "use urllib.request, or subprocess with curl"),
    ("robotparser", "the module is called urllib.robotparser in Python 3"),
    ("ruamel", YAML),
    ("sets", "set and frozenset are known without an import"),
    ("sha", "write import hashlib and hashlib.sha1(...)"),
    ("six", "it bridges Python 2 and 3; write the form of Python 3"),
    ("thread", "use the module threading"),
    ("urllib2", "in Python 3 urllib2 is urllib.request"),
    ("xmlrpclib", "the module is called xmlrpc.client in Python 3"),
    ("yaml", YAML),
    ("jinja2", "use % or .format() on texts, or {{references}} and .bind()"),
];

const YAML: &str = "keep the table as JSON and write json.load(open(...))";

/// What modules had in Python 2: module, name, what to write.
const MODULE_NAMES: [(&str, &str, &str); 50] = [
    ("collections", "Callable", "collections.abc.Callable"),
    ("collections", "Iterable", "collections.abc.Iterable"),
    ("collections", "Mapping", "collections.abc.Mapping"),
    ("collections", "MutableMapping", "collections.abc.MutableMapping"),
    ("collections", "Sequence", "collections.abc.Sequence"),
    ("inspect", "getargspec", "inspect.getfullargspec"),
    ("itertools", "ifilter", "filter"),
    ("itertools", "ifilterfalse", "itertools.filterfalse"),
    ("itertools", "imap", "map"),
    ("itertools", "izip", "zip"),
    ("itertools", "izip_longest", "itertools.zip_longest"),
    ("operator", "div", "operator.floordiv"),
    ("operator", "isCallable", "callable"),
    ("operator", "sequenceIncludes", "operator.contains"),
    ("os", "errno", "the module errno"),
    ("os", "getcwdu", "os.getcwd"),
    ("os", "popen2", "subprocess.Popen"),
    ("os", "popen3", "subprocess.Popen"),
    ("os", "popen4", "subprocess.Popen"),
    ("os", "tmpnam", "tempfile.mkstemp"),
    ("string", "atof", "float(text)"),
    ("string", "atoi", "int(text)"),
    ("string", "atol", "int(text)"),
    ("string", "center", "text.center(...)"),
    ("string", "count", "text.count(...)"),
    ("string", "find", "text.find(...)"),
    ("string", "index", "text.index(...)"),
    ("string", "join", "separator.join(words)"),
    ("string", "joinfields", "separator.join(words)"),
    ("string", "letters", "string.ascii_letters"),
    ("string", "ljust", "text.ljust(...)"),
    ("string", "lower", "text.lower()"),
    ("string", "lowercase", "string.ascii_lowercase"),
    ("string", "lstrip", "text.lstrip(...)"),
    ("string", "maketrans", "str.maketrans(...)"),
    ("string", "replace", "text.replace(...)"),
    ("string", "rfind", "text.rfind(...)"),
    ("string", "rjust", "text.rjust(...)"),
    ("string", "rstrip", "text.rstrip(...)"),
    ("string", "split", "text.split(...)"),
    ("string", "splitfields", "text.split(...)"),
    ("string", "strip", "text.strip(...)"),
    ("string", "translate", "text.translate(...)"),
    ("string", "upper", "text.upper()"),
    ("string", "uppercase", "string.ascii_uppercase"),
    ("string", "zfill", "text.zfill(...)"),
    ("sys", "exc_clear", "nothing: exceptions are forgotten by themselves"),
    ("sys", "maxint", "sys.maxsize"),
    ("urllib", "URLopener", "urllib.request.URLopener"),
    ("urllib", "urlretrieve", "urllib.request.urlretrieve"),
];

/// What values had in Python 2: the name, what to write.
const METHODS: [(&str, &str); 14] = [
    ("decode", "texts are Unicode in Python 3: leave .decode() out; only bytes have it"),
    ("func_code", "in Python 3 write f.__code__ instead of f.func_code"),
    ("func_defaults", "in Python 3 write f.__defaults__ instead of f.func_defaults"),
    ("func_name", "in Python 3 write f.__name__ instead of f.func_name"),
    ("has_key", "in Python 3 write key in d instead of d.has_key(key)"),
    ("im_class", "in Python 3 write m.__self__.__class__ instead of m.im_class"),
    ("im_func", "in Python 3 write m.__func__ instead of m.im_func"),
    ("im_self", "in Python 3 write m.__self__ instead of m.im_self"),
    ("iteritems", "in Python 3 write d.items() instead of d.iteritems()"),
    ("iterkeys", "in Python 3 write d.keys() instead of d.iterkeys()"),
    ("itervalues", "in Python 3 write d.values() instead of d.itervalues()"),
    ("next", "in Python 3 write next(iterator) instead of iterator.next()"),
    ("readfp", "in Python 3 write parser.read_file(file) instead of parser.readfp(file)"),
    ("xreadlines", "in Python 3 iterate over the file itself"),
];

/// Names that were known without an import.
const NAMES: [(&str, &str); 5] = [
    ("__file__", "job files have no __file__; open() takes paths from the working directory, include() from the file"),
    ("buffer", "in Python 3 write memoryview(...) instead of buffer(...)"),
    ("coerce", "Python 3 has no coerce: convert the values yourself"),
    ("execfile", "use include('other.aurora') instead of execfile"),
    ("StandardError", "in Python 3 write Exception instead of StandardError"),
];

fn found<'a>(table: &[(&str, &'a str)], wanted: &str) -> Option<&'a str> {
    table.iter().find(|(name, _)| *name == wanted).map(|(_, advice)| *advice)
}

/// Advice for an exception, from its class and words and the source that raised it.
pub(crate) fn exception_help(class: &str, message: &str, source: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('\'').skip(1).step_by(2).collect();
    match class {
        "AttributeError" => attribute_help(message, &quoted),
        "ModuleNotFoundError" => Some(module_help(quoted.first()?)),
        "ImportError" => match quoted.as_slice() {
            [name, module, ..] => module_name_help(module, name),
            _ if message.contains("relative import") => {
                Some("a file of your own is read with include('path/from/this/file')".to_owned())
            }
            _ => None,
        },
        "NameError" | "UnboundLocalError" => name_help(quoted.first()?, source),
        "TypeError" | "InvalidValueError" => type_help(message).map(str::to_owned),
        "LookupError" if message.contains("is not a text encoding") => match *quoted.first()? {
            "hex" => Some("in Python 3 write text.encode().hex() or bytes.fromhex(text)".to_owned()),
            "base64" => Some("in Python 3 write base64.b64encode(text.encode()).decode()".to_owned()),
            name => Some(format!("in Python 3 write codecs.encode(bytes, '{name}')")),
        },
        "TabError" | "IndentationError" if message.contains("tabs") => {
            Some("indent the whole block with blanks".to_owned())
        }
        "EOFError" => Some("a job file cannot ask: bind a name instead and give it with --bind name=VALUE".to_owned()),
        "UnicodeDecodeError" => Some("in Python 3 text is UTF-8: write open(path, 'rb') for other contents".to_owned()),
        _ => None,
    }
}

fn attribute_help(message: &str, quoted: &[&str]) -> Option<String> {
    let [owner, name, ..] = quoted else { return None };
    if message.starts_with("module ") {
        return module_name_help(owner, name);
    }
    let text = match (*owner, *name) {
        ("dict_keys" | "dict_values" | "dict_items", _) => {
            "in Python 3 keys(), values() and items() give no lists: write list(d.keys()) or sorted(d)"
        }
        ("range", _) => "in Python 3 range() gives no list: write list(range(...))",
        ("bytes", "format" | "encode") => BYTES,
        (_, name) => found(&METHODS, name)?,
    };
    Some(text.to_owned())
}

fn module_name_help(module: &str, name: &str) -> Option<String> {
    if module == "types" && name.ends_with("Type") {
        let of = match name {
            "StringType" | "StringTypes" | "UnicodeType" => "str",
            "IntType" | "LongType" => "int",
            "ListType" => "list",
            "DictType" => "dict",
            "TupleType" => "tuple",
            "FloatType" => "float",
            "BooleanType" => "bool",
            _ => return Some("in Python 3 write the type itself, such as str".to_owned()),
        };
        return Some(format!("in Python 3 write {of} instead of types.{name}"));
    }
    let (_, _, modern) = MODULE_NAMES.iter().find(|(of, old, _)| *of == module && *old == name)?;
    Some(format!("in Python 3 write {modern} instead of {module}.{name}"))
}

fn module_help(module: &str) -> String {
    let top = module.split('.').next().unwrap_or_default();
    match found(&MODULES, module).or_else(|| found(&MODULES, top)) {
        Some(advice) => advice.to_owned(),
        None => format!(
            "job files find the standard library of Python 3 only, not packages installed on this machine; a file of your own is \
             read with include('{top}.py')"
        ),
    }
}

fn name_help(name: &str, source: &str) -> Option<String> {
    if let Some(advice) = found(&NAMES, name) {
        return Some(advice.to_owned());
    }
    // Was it the variable of a comprehension?
    let source: Vec<char> = source.chars().collect();
    let tokens = tokens(&source);
    let in_brackets = |at: usize| tokens[at].depth > 0 && tokens[at].text == "for" && tokens[at + 1].text == name;
    (0..tokens.len().saturating_sub(1)).any(in_brackets).then(|| {
        format!("in Python 3 {name} is known only within the brackets of [... for {name} in ...], not after them")
    })
}

const BYTES: &str = "in Python 3 bytes are no text: write .decode() behind them";

fn type_help(message: &str) -> Option<&'static str> {
    let any = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if any(&["bytes-like object is required", "before hashing", "can assign only bytes", "bytes that are no UTF-8"])
        || message.contains("'bytes'") && message.contains("'str'")
    {
        return Some(
            "in Python 3 text is not bytes: write .encode() behind a text where bytes are wanted, and .decode() behind what a command \
             or a file opened with 'rb' gives",
        );
    }
    if any(&["'dict_", "(dict_"]) {
        return Some("in Python 3 keys(), values() and items() give no lists: write list(d.keys()) or sorted(d)");
    }
    if any(&["'range'"]) {
        return Some("in Python 3 range() gives no list: write list(range(...))");
    }
    if any(&["(map)", "(filter)", "(zip)", "'map'", "'filter'", "'zip'", "(generator)"]) {
        return Some("this gives its values one by one: write list(...) around it");
    }
    if any(&["argument cmp", "expected at most 1 arguments, got 2"]) {
        return Some("in Python 3 write key=functools.cmp_to_key(compare) instead of cmp=compare");
    }
    if any(&["not supported between instances of"]) {
        return Some("Python 3 gives no order to values of different types: convert them, or sort with key=str");
    }
    if any(&["'float' object cannot be interpreted as an integer", "not 'float'", "non-int of type 'float'"]) {
        return Some("in Python 3 / gives a fraction: write // for whole numbers");
    }
    None
}
