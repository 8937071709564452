//! Habits of Python 2: those that cannot work are told with the line and what to write instead, the others work.

use std::fmt::Write;

use crate::common::{Files, evaluate, failure};
use crate::golden;

/// Sources that are refused. What is told of each is kept in `golden/python2.txt`.
const REFUSED: &[&str] = &[
    // Statements that are functions.
    "x = 1\nprint 'hello'\n",
    "print x\n",
    "print 'a %s' % 'b', x,\n",
    "print 'one line', \\\n      'another'\n",
    "if True: print 'x'\n",
    "x = 1; print x\n",
    "def f(x):\n    print 'x %d' % x\n    return x\n",
    "print ('a %s') % 'b'\n",
    "print ('a'), 'b'\n",
    "print -1\n",
    "print [1, 2]\n",
    "print {'a': 1}\n",
    "import sys\nprint >>sys.stderr, 'x', 'y'\n",
    "print >> sys.stderr\n",
    "exec 'x = 1'\n",
    "exec code in names\n",
    // Exceptions.
    "try:\n  pass\nexcept ValueError, e:\n  pass\n",
    "try:\n  pass\nexcept (KeyError, ValueError), e:\n  pass\n",
    "try:\n  pass\nexcept (KeyError,\n        ValueError), error:\n  pass\n",
    "try: pass\nexcept ValueError, E: pass\n",
    "try: pass\nexcept ValueError, KeyError: pass\n",
    "try: pass\nexcept ValueError, KeyError, OSError: pass\n",
    "raise ValueError, 'no'\n",
    "raise ValueError, 'no', trace\n",
    "raise 'no'\n",
    // Numbers, texts, signs.
    "import os\nos.chmod('x', 0755)\n",
    "n = 10L\n",
    "n = 0xFFL\n",
    "x = 1 <> 2\n",
    "s = `n + 1`\n",
    "s = ur'\\d+'\n",
    // Parameters and names.
    "f = lambda (a, b): a\n",
    "def f(x, (a, b)): return a\n",
    "async = 1\n",
    "p = dict(await=True)\n",
    // Several at once.
    "print 'a'\nmode = 0644\nif mode <> 0:\n  print `mode`\n",
    // What is found when it runs: lists that are none.
    "x = {'a': 1}.keys()[0]\n",
    "x = {'a': 1}.values() + ['b']\n",
    "k = {'a': 1}.keys()\nk.sort()\n",
    "x = dict({'a': 1}.items() + {'b': 2}.items())\n",
    "x = range(3) + [4]\n",
    "x = range(3)\nx.append(4)\n",
    "t = Task(processes=(Process(name=n) for n in 'ab'))\n",
    // Order and numbers.
    "[2, 1].sort(cmp=lambda a, b: a - b)\n",
    "[2, 1].sort(lambda a, b: a - b)\n",
    "x = sorted([1, 'a'])\n",
    "x = None < 1\n",
    "for i in range(4 / 2): pass\n",
    "x = 'ab' * (4 / 2)\n",
    "x = [1, 2, 3][4 / 2]\n",
    // Bytes and texts.
    "import base64\nbase64.b64encode('x')\n",
    "import subprocess\nx = subprocess.check_output(['echo', 'a']).strip() + 'x'\n",
    "import subprocess\nx = subprocess.check_output(['echo', 'a']).split('\\n')\n",
    "x = 'a'.encode('hex')\n",
    "x = 'a'.decode('utf-8')\n",
    "x = '%s' % b'\\xff'\n",
    // Names that are gone.
    "x = __file__\n",
    "x = buffer('x')\n",
    "raise StandardError('x')\n",
    "l = [x for x in [1, 2]]\ny = x\n",
    "x = iter([1]).next()\n",
    "def f(): pass\nf.func_name\n",
    "import os\nos.popen3('x')\n",
    "import types\ntypes.ClassType\n",
    "x = raw_input('who? ')\n",
    // Modules that are gone.
    "import thread\n",
    "import HTMLParser\n",
    "from xmlrpclib import Server\n",
    "import yaml\n",
    "import six\n",
    "import requests\n",
    "import our_helpers\n",
    "from . import our_helpers\n",
    // Blanks.
    "if True:\n    x = 1\n\ty = 2\n",
];

#[test]
fn what_cannot_work_is_told_with_its_line_and_the_form_of_python_3() {
    let mut told = String::new();
    for source in REFUSED {
        let failure = failure(source);
        assert!(failure.contains("--> test.aurora:"), "{source}\n{failure}");
        write!(told, "{source}{}\n{failure}\n", "-".repeat(40)).expect("a text takes all");
    }
    golden::check("python2.txt", &told);
}

/// What works as it did, each with what shows it.
const WORKING: &[&str] = &[
    // Names.
    "assert [i for i in xrange(3)] == [0, 1, 2] and list(xrange(4, 0, -2)) == [4, 2]",
    "assert unicode('a') == u'a' and isinstance('a', basestring) and unichr(97) == 'a'",
    "assert long(3) == 3 and isinstance(3, long) and isinstance(3, (int, long))",
    "assert reduce(lambda a, b: a + b, [1, 2, 3]) == 6",
    "assert cmp(1, 2) == -1 and cmp('b', 'a') == 1 and cmp([], []) == 0",
    "assert apply(max, [1, 2]) == 2 and apply(dict, (), {'a': 1}) == {'a': 1}",
    "assert intern('x') == 'x' and reload(sys) is sys",
    "sys.setdefaultencoding('utf-8')\nassert sys.maxint > 2 ** 31",
    "assert file('/proc/self/comm').read()",
    "assert callable(raw_input)",
    // Lists.
    "assert map(str, [1, 2])[0] == '1' and len(map(str, [1])) == 1 and map(str, [1]) + ['b'] == ['1', 'b']",
    "m = map(str, [1, 2])\nassert [x for x in m] == ['1', '2'] and [x for x in m] == ['1', '2']\nm.append('3')\nassert m[1:] == ['2', '3']",
    "assert map(None, [1, 2]) == [1, 2] and map(None, [1], [2]) == [(1, 2)] and map(lambda a, b: a + b, [1], [2]) == [3]",
    "assert zip([1], [2])[0] == (1, 2) and zip([1, 2], 'ab')[::-1] == [(2, 'b'), (1, 'a')] and dict(zip('a', 'b')) == {'a': 'b'}",
    "assert filter(None, [0, 1]) == [1] and filter(str.isdigit, 'a1b2') == '12' and filter(None, (0, 1)) == (1,)",
    "t = Task(processes=map(lambda n: Process(name=n), 'ab'))\nassert [str(p.name()) for p in t.processes()] == ['a', 'b']",
    // Their forms of Python 3 work, too.
    "assert next(map(str, [1, 2])) == '1' and next(filter(None, [0, 7])) == 7 and list(zip('ab', 'cd', strict=True))[1] == ('b', 'd')",
    "m = map(str, [1, 2])\nassert next(m) == '1' and list(m) == ['2'] and next(m, None) is None",
    // Dictionaries.
    "assert list({'a': 1}.iteritems()) == [('a', 1)] and list({'a': 1}.iterkeys()) == ['a'] and list({'a': 1}.itervalues()) == [1]",
    "assert {'a': 1}.has_key('a') and not {}.has_key('a') and next({'a': 1}.iteritems()) == ('a', 1)",
    "assert list({'a': 1}.viewitems()) == [('a', 1)]",
    "import os\nassert os.environ.has_key('PATH') and os.getcwdu() == os.getcwd()",
    // Order.
    "assert sorted([1, 3, 2], cmp=lambda a, b: b - a) == [3, 2, 1] and sorted([1, 3, 2], lambda a, b: b - a) == [3, 2, 1]",
    "assert sorted(['b', 'A'], cmp=cmp, key=str.lower) == ['A', 'b'] and sorted([1, 2], reverse=True) == [2, 1]",
    // Texts and bytes.
    "assert '%s' % open('/proc/self/comm', 'rb').read() == open('/proc/self/comm').read()",
    "import subprocess\nassert 'x %s' % subprocess.check_output(['echo', 'a']).strip() == 'x a' and '{}'.format(b'a') == 'a'",
    "import hashlib\nassert hashlib.md5('text').hexdigest() == hashlib.md5(b'text').hexdigest() == '1cb251ec0d568de6a929b520c4aed8d1'",
    "import hashlib\nh = hashlib.sha1()\nh.update('te')\nh.update(b'xt')\nassert h.hexdigest() == hashlib.new('sha1', 'text').hexdigest()",
    "from hashlib import md5, sha256\nassert md5('').hexdigest() == 'd41d8cd98f00b204e9800998ecf8427e' and sha256('a').digest_size == 32",
    "import md5, sha\nassert md5.new('a').hexdigest() == md5.md5('a').hexdigest() and len(sha.new('a').hexdigest()) == 40",
    // Modules.
    "import string\nassert string.join(['a', 'b'], '-') == 'a-b' and string.join(['a', 'b']) == 'a b' and string.upper('a') == 'A'",
    "import string\nassert string.letters[:2] == 'ab' and string.lowercase[-1] == 'z' and string.uppercase[0] == 'A'",
    "import string\nassert 'ab'.translate(string.maketrans('a', 'x')) == 'xb' and string.replace('aa', 'a', 'b') == 'bb' and string.atoi('7') == 7",
    "from itertools import izip, imap, ifilter\nassert list(izip([1], [2])) == [(1, 2)] and list(imap(str, [1])) == ['1']\nassert next(ifilter(None, [0, 1])) == 1",
    "import urllib\nassert urllib.quote('a b') == 'a%20b' and urllib.urlencode({'a': 1}) == 'a=1' and urllib.unquote('%41') == 'A'",
    "from urllib import quote_plus\nimport urlparse\nassert quote_plus('a b') == 'a+b' and urlparse.urlparse('http://h/p').path == '/p'",
    "import urllib2\nassert urllib2.Request('http://h/p').get_full_url() == 'http://h/p' and issubclass(urllib2.HTTPError, Exception)",
    "from StringIO import StringIO\nimport cStringIO\nout = StringIO()\nout.write('a')\nassert out.getvalue() == 'a' and cStringIO.StringIO('b').read() == 'b'",
    "import ConfigParser, StringIO\nc = ConfigParser.ConfigParser()\nc.read_string(u'[a]\\nb = c')\nassert c.get('a', 'b') == 'c'",
    "import cPickle, Queue, __builtin__\nassert cPickle.loads(cPickle.dumps([1])) == [1] and Queue.Queue().empty() and __builtin__.len is len",
    "import commands\nassert commands.getoutput('echo hi') == 'hi'",
    "import simplejson as json, sets\nassert json.loads('[1]') == [1] and sets.Set([1]) == set([1])",
    "import types, collections\nassert isinstance('a', types.StringType) and isinstance({}, types.DictType) and isinstance({}, collections.Mapping)",
    // Blanks and signs.
    "if True:\n\tx = 1\n        y = 2\nassert (x, y) == (1, 2)",
    "assert u'a' == 'a' and r'\\d' == '\\\\d' and b'a'.decode() == 'a'",
    "class Old:\n  __metaclass__ = type\nassert Old().__class__.__name__ == 'Old'",
];

#[test]
fn what_means_the_same_works() {
    for source in WORKING {
        let text = format!("{source}\njobs = [Job(cluster='c', role='r', environment='devel', name='n')]\n");
        if let Err(error) = evaluate(&text) {
            panic!("{source}\n{}", error.render());
        }
    }
}

#[test]
fn an_old_file_is_run_in_the_same_names() {
    let files = Files::new();
    let other = files.write("other.aurora", "role = 'www'\n");
    let text = format!("execfile('{other}')\njobs = [Job(cluster='c', role=role, environment='devel', name='n')]\n");
    let evaluation = config::evaluate(&files.request(&text)).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(evaluation.jobs[0].key(), "c/www/devel/n");
}

#[test]
fn an_included_file_of_python_2_is_refused_with_its_own_line() {
    let files = Files::new();
    files.write("old.aurora", "x = 1\ntry: x\nexcept NameError, e: pass\n");
    let error = config::evaluate(&files.request("\ninclude('old.aurora')\njobs = []\n")).expect_err("it is refused");
    let told = error.render().replace(&format!("{}/", files.folder.path().display()), "");
    assert_eq!(
        told,
        "error: this does not give the name 'e' to the exception, as it did in Python 2
 --> old.aurora:3:1
  |
3 | except NameError, e: pass
  | ^^^^^^^^^^^^^^^^^^^^
  = called from <module> at test.aurora:2
  = help: write except NameError as e:; this is the form of Python 2
"
    );
}

/// The warnings of a file whose job takes the text `x`.
fn warnings(text: &str) -> Vec<String> {
    let files = Files::new();
    let text = format!(
        "{text}\njobs = [Job(cluster='c', role='r', environment='devel', name='n', task=SimpleTask('p', 'echo %s' % x))]\n"
    );
    let evaluation = config::evaluate(&files.request(&text)).unwrap_or_else(|error| panic!("{}", error.render()));
    let submission = evaluation.jobs[0].submission("me", &config::default_tiers()).expect("a whole job");
    let folder = format!("{}/", files.folder.path().display());
    submission.warnings.iter().map(|warning| warning.replace(&folder, "")).collect()
}

#[test]
fn a_division_that_gives_a_fraction_now_is_told_once_for_its_line() {
    let told = warnings("for n in (7, 9):\n  x = n / 2");
    assert_eq!(
        told,
        [
            "test.aurora:2: 7 / 2 is 3.5 in Python 3 and was 3 in Python 2; write // where a whole number is meant, or put \
          'from __future__ import division' at the top of the file"
        ]
    );
    let told = warnings("x = -4 / 2\nx /= 3.0");
    assert!(told[0].contains("-4 / 2 is -2.0 in Python 3 and was -2 in Python 2") && told.len() == 1, "{told:?}");
    assert_eq!(warnings("x = 6\nx /= 4").len(), 1);
    assert_eq!(warnings("def half(n):\n  return n / 2\nx = half(5)")[0].split(':').nth(1), Some("2"));
}

#[test]
fn divisions_that_mean_the_same_are_not_told() {
    for text in [
        "x = 7 // 2",
        "x = 7 / 2.0",
        "x = 1.0 / 3",
        "from __future__ import division\nx = 7 / 2",
        "import datetime\nx = datetime.timedelta(days=3) / 2",
    ] {
        assert_eq!(warnings(text), [""; 0], "{text}");
    }
}
