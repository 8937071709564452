# What the examples find, under both implementations: types of a user's own, and how a result is written down.

class P(Struct):
  a = Default(String, 'x')
  n = Default(Integer, 2)
  f = Float
  b = Default(Boolean, False)

class Q(Struct):
  data = Default(String, 'x/{{a}}')
  p = Default(P, P())
  names = Default(List(String), ['{{data}}', 'two'])
  table = Map(String, Integer)

class R(Struct):
  a = Required(String)
  q = Q
  many = List(P)
  mode = Enum('Colour', ('RED', 'GREEN'))
  either = Choice([P, Integer, String])
  text = String

class Derived(P):
  def hello(self):
    return 'hello'

KINDS = [('InvalidReference', Ref.InvalidRefError), ('Endless', MustacheParser.Uninterpolatable),
         ('Coercion', String.CoercionError), ('AttributeError', AttributeError), ('TypeError', TypeError),
         ('KeyError', KeyError), ('IndexError', IndexError), ('ValueError', ValueError)]


def kind(error):
  return ([name for name, kind in KINDS if isinstance(error, kind)] or [type(error).__name__])[0]


def attempt(what):
  try:
    return what()
  except Exception as error:
    return '!' + kind(error)


def shown(value):
  if hasattr(value, 'interpolate') and not isinstance(value, type):
    parts = [type(value).__name__, attempt(lambda: str(value)), attempt(lambda: str(value.check())),
             attempt(lambda: ' '.join(sorted(str(ref) for ref in value.interpolate()[1])))]
    return '<%s>' % ' | '.join(parts)
  if isinstance(value, (list, tuple)):
    return '[%s]' % ', '.join(shown(item) for item in value)
  if isinstance(value, dict):
    return '{%s}' % ', '.join(sorted('%s: %s' % (shown(key), shown(item)) for key, item in value.items()))
  if isinstance(value, type):
    return value.__name__
  return repr(value)


def outcome(text):
  return attempt(lambda: shown(eval(text)))
