"""Loads a job file with the original library and prints its jobs, resolved as a client resolves them, as JSON.

load.py HELPERS FILE [NAME=VALUE]...
"""

import json
import os
import sys
import types

from schema import *

helpers, path = sys.argv[1:3]
bindings = dict(argument.split('=', 1) for argument in sys.argv[3:])
names = dict(globals())
# The order of a set of Aurora's Python is looked at elsewhere.
sys.modules['_jobfile'] = types.SimpleNamespace(set_order=lambda values: range(len(values)))
exec(compile(open(helpers).read(), helpers, 'exec'), names)


def run(path, folder=['']):
  path = os.path.join(folder[-1], path)
  folder.append(os.path.dirname(path))
  exec(compile(open(path).read(), path, 'exec'), names)
  folder.pop()


names['include'] = run
run(path)
found = []
for job in names['jobs']:
  if bindings:
    job = job.bind(bindings)
  job = job.bind({'mesos': {'role': '{{role}}', 'cluster': '{{cluster}}'}, 'thermos': {'user': '{{role}}'}})
  found.append([str(job.check()), json.loads(job.json_dumps())])
print(json.dumps(found))
