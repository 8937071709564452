"""Works out hand-written examples with the original library and prints what they come to, as JSON: examples.py HELPERS SETUP EXPRESSIONS."""

import json
import sys
import types

from schema import *

helpers, set_up, expressions = sys.argv[1:4]
names = dict(globals())
sys.modules['_jobfile'] = types.SimpleNamespace(set_order=lambda values: range(len(values)))
exec(compile(open(helpers).read(), helpers, 'exec'), names)
exec(open(set_up).read(), names)
for text in json.load(open(expressions)):
  names['example'](text)
print(json.dumps([bytes.fromhex(str(result.value())).decode() for result in names['results']]))
