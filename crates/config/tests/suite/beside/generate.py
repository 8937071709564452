"""Makes expressions by chance from a seed, has the original library work them out, and prints both as lines of JSON."""

import json
import random
import signal
import sys

from pystachio import *

exec(open(sys.argv[1]).read())

chance = random.Random(int(sys.argv[2]))
pick = chance.choice

REFERENCES = ['a', 'b', 'k', 'p', 'p.a', 'p.n', 'p.x', 'q.data', 'q.p.a', 'q.names[0]', 'l', 'l[0]', 'l[-1]', 'l[9]', 'l[x]', 'l.x', 'm',
              'm[k]', 'm[z]', 'm.k', 'm[{{k}}]', 'x{{k}}', 'self.a', 'self.n', 'super.a', 'super.super.a', 'data', 'n', 'f', 'names[1]',
              'table[k]', 'c.d', 'c.d.e', 'i[a/b.c-d]', 'xk', '.a', '[k]', '_u', 'a[0][1]', 'either', 'mode', 'q']
ODD = ['{{}}', '{a}', '{{ a }}', '{{a-b}}', '{{a b}}', '{{4}}', '{{a}', '{{{a}}}', '{{&a}}', '{{&a&}}', '{{&&a}}', '{{a&}}', '}}', '{{',
       '{{a.}}', '{{a[]}}', '{{a[b]c}}', '{{a..b}}', '{{[a}}', '{{a\\n}}', '{{\\u00e4}}', '$' + '{a}', '{{&}}', '{{a[b c]}}', '{{{{a}}}}']
WORDS = ['', 'x', '-', ' ', 'word ', '1', '0.5', 'true', '/', '\\u00fc', '7', '%s', "\\'", '1e3', 'RED']


def text(depth=2):
  pieces = []
  for _ in range(pick([0, 1, 1, 1, 2, 3])):
    pieces.append(pick([lambda: pick(WORDS), lambda: '{{%s}}' % pick(REFERENCES), lambda: '{{%s}}' % pick(REFERENCES),
                        lambda: pick(ODD) if chance.random() < 0.3 else pick(WORDS)])())
  return "'%s'" % ''.join(pieces)


def plain():
  return pick(["'a'", "'k'", "'0'", "'1'", "'x y'", "' 7 '", "'1.5'", "'TRUE'", "''", "'1e2'", '0', '1', '-3', '10**20', '1.5', '1.0', '0.1',
               '1e100', '-0.0', 'True', 'False', 'None', '[]', "[1, '{{a}}']", "(1, 2)", "{'a': 1}", '{}', 'Empty', "'RED'", "'yes'", "'-1'", "'1_000'", "'0x10'", "'inf'", "'nan'", "'+4'"])


def value(depth):
  if depth <= 0:
    return pick([plain, text])()
  return pick([plain, text, text, lambda: made(depth - 1)])()


def made(depth):
  return pick([
      lambda: 'String(%s)' % value(depth - 1), lambda: 'Integer(%s)' % value(depth - 1), lambda: 'Float(%s)' % value(depth - 1),
      lambda: 'Boolean(%s)' % value(depth - 1),
      lambda: 'List(%s)([%s])' % (pick(['String', 'Integer', 'P']), ', '.join(value(depth - 1) for _ in range(pick([0, 1, 2])))),
      lambda: 'Map(String, %s)({%s})' % (pick(['String', 'Integer']), ', '.join("'%s': %s" % (key, value(depth - 1)) for key in 'kz'[:pick([0, 1, 2])])),
      lambda: struct(depth - 1), lambda: struct(depth - 1), lambda: struct(depth - 1),
      lambda: "Enum('Colour', ('RED', 'GREEN'))(%s)" % value(0),
      lambda: 'Choice([%s])(%s)' % (pick(['P, Integer, String', 'Integer, P', 'Float, Boolean', 'List(Integer), String']), value(depth - 1)),
      lambda: 'Derived(%s)' % fields(['a', 'n'], depth - 1)])()


FIELDS = {'P': ['a', 'n', 'f', 'b'], 'Q': ['data', 'p', 'names', 'table'], 'R': ['a', 'q', 'many', 'mode', 'either', 'text']}


def fitting(name, depth):
  """A value that mostly has the right shape."""
  if chance.random() < 0.15 or depth < -2:
    return value(depth)
  if name == 'p' or (name == 'either' and chance.random() < 0.5):
    return pick(['P(%s)', 'dict(%s)']) % fields(FIELDS['P'], depth - 1)
  if name == 'q':
    return pick(['Q(%s)', 'dict(%s)']) % fields(FIELDS['Q'], depth - 1)
  if name == 'many':
    return '[%s]' % ', '.join('P(%s)' % fields(FIELDS['P'], depth - 1) for _ in range(pick([0, 1, 2])))
  if name == 'names':
    return '[%s]' % ', '.join(text() for _ in range(pick([0, 1, 2])))
  if name == 'table':
    return "{'k': %s}" % pick(['1', "'2'", text()])
  if name == 'mode':
    return pick(["'RED'", "'GREEN'", "'red'", "'{{k}}'", text()])
  if name in ('n', 'f'):
    return pick(['1', "'2'", '2.5', text()])
  if name == 'b':
    return pick(['True', "'false'", '0', text()])
  return text()


def fields(names, depth):
  chosen = [name for name in names if chance.random() < 0.5]
  if chance.random() < 0.03:
    chosen.append('bogus')
  return ', '.join('%s=%s' % (name, fitting(name, depth)) for name in chosen)


def struct(depth):
  name = pick(['P', 'P', 'Q', 'R'])
  made = '%s(%s)' % (name, fields(FIELDS[name], depth))
  if chance.random() < 0.15:
    made += '(%s)' % fields(FIELDS[name], depth)
  return made


def bindings(depth):
  names = ['a', 'b', 'k', 'c', 'l', 'm', 'p', 'q', 'xk', 'n', 'self', '_u', 'i', 'data']
  usual = {'l': 'List(String)(%s)' % "['one', '{{a}}']", 'm': "Map(String, String)({'k': '{{b}}'})", 'p': 'P(%s)' % fields(FIELDS['P'], depth),
           'q': 'Q()', 'k': "'k'", 'c': "{'d': %s}" % pick(['1', "'{{a}}'", "{'e': 5}"]), 'i': "{'[a/b.c-d]': 'digest'}"}
  words = []
  if chance.random() < 0.15:
    words.append(pick(["{'p.a': 9}", "{'l[0]': 'z', 'a': 1}", 'P()', "{'a': {'b': 1}}", 'Q(data=%s)' % text(), "Environment(a='env')", '3', "{'a b': 1}",
                       "List(Integer)([4])", "Map(String, Integer)({'k': 8})"]))
  for name in chance.sample(names, pick([0, 1, 2, 3])):
    sort = chance.random()
    words.append('%s=%s' % (name, usual[name] if name in usual and sort < 0.8 else text() if sort < 0.6 else plain()))
  return ', '.join(words)


def scoped(depth):
  made_ = made(depth)
  for _ in range(pick([0, 1, 1, 2])):
    made_ += '.%s(%s)' % (pick(['bind', 'bind', 'bind', 'in_scope']), bindings(depth))
  return made_


def accessor():
  return pick(["R(%s)" % fields(FIELDS['R'], 1), "Q(%s)" % fields(FIELDS['Q'], 1)]) + '.bind(%s)' % bindings(1) + pick(
      ['.a()', '.q()', '.q().data()', '.q().names()', '.many()', '.data()', '.names()[0]', '.p().a()', '.p()', '.table()', '.has_a()', '.has_p()',
       '.either()', '.either().unwrap()', '.mode()', '.text()', '.text() is Empty', '.data().get()', '.bogus()', '.p().n().get()'])


def expression():
  return pick([
      lambda: scoped(2), lambda: scoped(2), lambda: scoped(3),
      lambda: 'String(%s).bind(%s)' % (text(), bindings(1)), lambda: 'String(%s).bind(%s)' % (text(), bindings(1)),
      accessor, accessor,
      lambda: '%s == %s' % ((struct(1),) * 2) if chance.random() < 0.3 else '%s == %s' % (scoped(1), scoped(1)),
      lambda: '%s in %s' % (value(0), pick(["List(String)(['a', 'k', '{{a}}'])", "List(Integer)([1, '2'])", "Map(String, Integer)({'a': 1})"])),
      lambda: 'json.loads((%s).json_dumps())' % struct(2),
      lambda: '(%s).interpolate()[0]' % scoped(2),
      lambda: '(%s).get()' % scoped(1),
      lambda: '(%s) %% {%s}' % (made(1), "'a': %s" % pick(["'v'", '1', text()])),
      lambda: 'Ref.from_address(%s).address()' % pick(["'%s'" % pick(REFERENCES), "'a..b'", "''", "'a['", "'a[b'", "' a'", "'a]'", "'4'", "'[4]'"]),
      lambda: '[str(x) for x in List(%s)(%s).bind(%s)]' % (pick(['String', 'Integer', 'Float']), value(0), bindings(1)),
      lambda: 'List(String)([%s, %s])[%s]' % (text(), text(), pick(['0', '1', '-1', '2', '0:1', ':'])),
      lambda: '%s.check().message()' % struct(2),
      lambda: 'hash(%s) == hash(%s)' % ((struct(1),) * 2),
      lambda: 'R.json_loads(json.dumps({"a": %s, "q": {"data": %s, "bogus": 1}}), strict=%s)' % (text(), text(), pick(['True', 'False'])),
      lambda: pick(['List(P)', 'Map(String, P)', 'Choice([P, Integer])', "Choice('C', [P])", "Enum('A', 'B')", "Map(String, List(Integer))", 'P',
                    'Enum(*"AB")', 'List(List(Map(String, P)))']) + '.__name__',
      lambda: '[%s, 3][1]' % pick(['Required(P)', 'Default(String, 1)', 'Required(Required(P))', 'List(3)', 'Choice([3])', 'Map(String)',
                                   'Default(Integer, %s)' % value(0), 'Default(P, %s)' % value(0)]),
  ])()


class TooLong(BaseException):
  """References that lead back to themselves twice over double what is left at each pass; the original works at it for ages."""


def give_up(_signal, _frame):
  raise TooLong()


signal.signal(signal.SIGALRM, give_up)
seen = set()
while len(seen) < int(sys.argv[3]):
  candidate = expression()
  if candidate in seen:
    continue
  signal.alarm(2)
  try:
    found = outcome(candidate)
  except TooLong:
    continue
  finally:
    signal.alarm(0)
  seen.add(candidate)
  print(json.dumps([candidate, found]))
