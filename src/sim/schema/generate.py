#!/usr/bin/env python3
"""Writes builtin.tsv, the field table of the built-in types of Kubernetes v1.34.

  generate.py DEFINITIONS GO_SOURCES K8S_PB > builtin.tsv

DEFINITIONS  the `definitions` of Kubernetes' OpenAPI v2 document (types, formats, required, x-kubernetes-*), as JSON
GO_SOURCES   a GOPATH with k8s.io/api and k8s.io/apimachinery (Go type, pointer, omitempty)
K8S_PB       the unpacked k8s-pb crate (protobuf numbers)

What is younger than the Go sources is inferred: optional scalars and structs are pointers. A test holds the result
against the types of k8s-openapi.
"""
import json, os, re, sys

DEFS, GO, PB = sys.argv[1:4]
defs = json.load(open(DEFS))
defs = defs.get('definitions') or defs.get('$defs') or defs

ROOT_EXTRA = ['io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions', 'io.k8s.apimachinery.pkg.apis.meta.v1.Status',
              'io.k8s.api.policy.v1.Eviction', 'io.k8s.api.authentication.v1.TokenRequest', 'io.k8s.api.autoscaling.v1.Scale',
              'io.k8s.api.core.v1.Binding', 'io.k8s.api.core.v1.ObjectReference', 'io.k8s.apimachinery.pkg.apis.meta.v1.Condition']
SPECIAL = {
    'io.k8s.apimachinery.pkg.api.resource.Quantity': 'quantity',
    'io.k8s.apimachinery.pkg.apis.meta.v1.Time': 'time',
    'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime': 'microtime',
    'io.k8s.apimachinery.pkg.util.intstr.IntOrString': 'intOrString',
    'io.k8s.apimachinery.pkg.runtime.RawExtension': 'any',
    'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1': 'any',
    'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON': 'any',
    'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray': 'schemaOrList',
    'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool': 'schemaOrBool',
    'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray': 'schemaOrStrings',
}
# What a list's key is taken to be where an item does not have it.
KEY_DEFAULTS = {'protocol': 'TCP'}
# Fields that Go writes although the document does not require them, and other facts the sources at hand do not tell.
P = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.'
ALWAYS = {(P + 'CustomResourceDefinitionStatus', f) for f in ('conditions', 'acceptedNames', 'storedVersions')}
ALWAYS |= {('io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceSpec', f) for f in ('service',)}
VALUE = {(P + 'JSONSchemaProps', f) for f in ('id', '$schema', 'description', 'type', 'format', 'title', 'exclusiveMaximum',
         'exclusiveMinimum', 'pattern', 'uniqueItems', 'nullable', 'x-kubernetes-embedded-resource', 'x-kubernetes-int-or-string')}
VALUE |= {(P + 'CustomResourceDefinitionStatus', 'acceptedNames'), (P + 'CustomResourceColumnDefinition', 'format'),
          (P + 'CustomResourceColumnDefinition', 'description'), (P + 'CustomResourceColumnDefinition', 'priority'),
          (P + 'CustomResourceDefinitionNames', 'singular'), (P + 'CustomResourceDefinitionNames', 'listKind'),
          (P + 'ExternalDocumentation', 'description'), (P + 'ExternalDocumentation', 'url'),
          (P + 'ValidationRule', 'message'), (P + 'ValidationRule', 'messageExpression'), (P + 'ValidationRule', 'fieldPath')}
VALUE |= {('io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.' + t, f) for t, f in (
          ('ServiceReference', 'namespace'), ('ServiceReference', 'name'), ('APIServiceSpec', 'group'),
          ('APIServiceSpec', 'version'), ('APIServiceSpec', 'insecureSkipTLSVerify'))}

VALUE |= {('io.k8s.api.core.v1.PodStatus', 'observedGeneration'), ('io.k8s.api.core.v1.PodCondition', 'observedGeneration'),
          ('io.k8s.api.networking.v1.ParentReference', 'group'), ('io.k8s.api.networking.v1.ParentReference', 'namespace'),
          ('io.k8s.api.core.v1.PodCertificateProjection', 'certificateChainPath'), ('io.k8s.api.core.v1.PodCertificateProjection', 'keyPath'),
          ('io.k8s.api.core.v1.PodCertificateProjection', 'credentialBundlePath')}
# Since v1.34 an object without a creation time does not say so.
OMIT_ZERO = {('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta', 'creationTimestamp')}

# --- Go sources: struct name -> [(json, omitempty, go type, inline, protobuf number)]
def package_of(prefix):
    p = prefix.replace('io.k8s.api.', 'k8s.io/api/').replace('io.k8s.apimachinery.', 'k8s.io/apimachinery/')
    return p.replace('.', '/').replace('k8s/io', 'k8s.io')

packages = {}
def package(path):
    if path in packages: return packages[path]
    structs, aliases, enums = {}, {}, {}
    top = os.path.join(GO, path)
    for name in sorted(os.listdir(top)) if os.path.isdir(top) else []:
        if not name.endswith('.go') or name.endswith('_test.go') or name.startswith(('zz_', 'generated')) or 'swagger_doc' in name: continue
        text = open(os.path.join(top, name)).read()
        for m in re.finditer(r'^type (\w+) struct \{\n(.*?)^\}', text, re.M | re.S):
            rows = []
            for line in m[2].split('\n'):
                line = line.strip()
                f = re.match(r'(?:(\w+)\s+)?(\S+)\s+`(.*)`', line)
                if not f or line.startswith('//'): continue
                tags = dict(re.findall(r'(\w+):"([^"]*)"', f[3]))
                if 'json' not in tags: continue
                js = tags['json'].split(',')
                number = tags.get('protobuf', ',').split(',')
                rows.append(dict(json=js[0], omit='omitempty' in js, zero='omitzero' in js, go=f[2], inline=js[0] == '' and 'inline' in js,
                                 number=int(number[1]) if len(number) > 1 and number[1].isdigit() else None))
            structs[m[1]] = rows
        for m in re.finditer(r'^type (\w+) ((?:map\[|\[\]|string|int32|int64|bool|\w+\.)\S*)', text, re.M):
            aliases[m[1]] = m[2]
        for m in re.finditer(r'^// \+enum\n(?://.*\n)*type (\w+) ', text, re.M):
            enums[m[1]] = ([], True)
        for m in re.finditer(r'^(?:const )?\s*(\w+)\s+(\w+)\s*=\s*"([^"]*)"', text, re.M):
            if m[2] in enums: enums[m[2]][0].append(m[3])
        for name in list(enums):
            if re.search(r'//[^\n]*\n\s*(?:const )?\w+\s+' + name + r'\s*=', text): enums[name] = (enums[name][0], False)
    packages[path] = (structs, aliases, enums)
    return packages[path]

def enum_of(go, prefix):
    """The values of an enumerated type, with a ! before them where none of them is documented."""
    bare = re.sub(r'^(\[\]|\*|map\[.*\])*', '', go)
    where, _, name = bare.rpartition('.')
    path = {'': package_of(prefix), 'metav1': 'k8s.io/apimachinery/pkg/apis/meta/v1', 'v1': 'k8s.io/api/core/v1', 'corev1': 'k8s.io/api/core/v1', 'core': 'k8s.io/api/core/v1'}.get(where)
    values, plain = package(path)[2].get(name, ([], False)) if path else ([], False)
    return ('!' if plain and values else '') + '|'.join(sorted(set(values)))

def go_fields(name):
    prefix, kind = name.rsplit('.', 1)
    structs = package(package_of(prefix))[0]
    if kind not in structs: return None
    out = {}
    def add(struct, path, where):
        for row in where.get(struct, []):
            if row['inline']:
                bare = row['go'].lstrip('*').split('.')[-1]
                if bare == 'TypeMeta': continue
                local = where if bare in where else package('k8s.io/apimachinery/pkg/apis/meta/v1')[0]
                add(bare, path + ([row['number']] if row['number'] else []), local)
            elif row['json'] and row['json'] != '-':
                out.setdefault(row['json'], dict(row, path=path + [row['number']] if row['number'] else None))
    add(kind, [], structs)
    return out

# --- k8s-pb: module path -> struct -> [(field, number, is message, type)]
pb_modules = {}
def pb_module(prefix):
    path = prefix.replace('io.k8s.api.', 'api.').replace('io.k8s.apimachinery.', 'apimachinery.').replace('io.k8s.apiextensions-apiserver.', 'apiextensions_apiserver.').replace('io.k8s.kube-aggregator.', 'kube_aggregator.')
    if path not in pb_modules:
        out = {}
        f = os.path.join(PB, 'src', *path.split('.'), 'mod.rs')
        text = open(f).read() if os.path.exists(f) else ''
        for m in re.finditer(r'^pub struct (\w+) \{\n(.*?)^\}', text, re.M | re.S):
            out[m[1].lower()] = [(n.replace('_', '').replace('r#', '').lower(), int(t), 'message' in a, ty) for a, t, n, ty in
                re.findall(r'#\[prost\(([^)]*?)tag = "(\d+)",?\s*\)\]\s+(?:#\[[^\]]*\]\s+)*pub ([\w#]+):\s*([^;]*?),\n', m[2])]
        pb_modules[path] = out
    return pb_modules[path]

def pb_fields(name, known):
    prefix, kind = name.rsplit('.', 1)
    rows = pb_module(prefix).get(kind.lower())
    if rows is None: return {}
    out = {}
    def add(rows, path):
        for field, number, message, ty in rows:
            if not path and field not in known and message:
                inner = re.findall(r'(\w+)>*$', ty)
                sub = pb_module(prefix).get(inner[0].lower()) if inner else None
                if sub: add(sub, path + [number]); continue
            out.setdefault(field, path + [number])
    add(rows, [])
    return out

# --- types
def short(name):
    for a, b in (('io.k8s.api.', ''), ('io.k8s.apimachinery.pkg.apis.meta.', 'meta.'), ('io.k8s.apimachinery.pkg.', 'pkg.'),
                 ('io.k8s.apiextensions-apiserver.pkg.apis.', ''), ('io.k8s.kube-aggregator.pkg.apis.', '')):
        if name.startswith(a): return b + name[len(a):]
    raise SystemExit(name)

def ref(p): return p['$ref'].rsplit('/', 1)[1] if '$ref' in p else None
def plain(t): return next((x for x in t if x != 'null'), None) if isinstance(t, list) else t

needed = []
def type_of(p, owner):
    r = ref(p)
    if r:
        if r in SPECIAL:
            if SPECIAL[r].startswith('schemaOr'): need(P + 'JSONSchemaProps')
            return SPECIAL[r]
        need(r)
        return short(r)
    t = plain(p.get('type'))
    if t == 'array': return '[]' + type_of(p['items'], owner)
    if t == 'object':
        return '{}' + type_of(p['additionalProperties'], owner) if 'additionalProperties' in p else 'any'
    if t == 'string': return {'byte': 'bytes', 'date-time': 'time'}.get(p.get('format'), 'string')
    if t == 'integer': return p.get('format') or 'int32'
    if t == 'number': return 'double'
    if t == 'boolean': return 'bool'
    return 'any'

def need(name):
    if name not in needed: needed.append(name)

GO_SCALARS = {'string', 'int32', 'int64', 'bool', 'float64', 'double', 'int', 'uint8', 'byte', 'uint32', 'uint64'}
def derived_go(t):
    if t.startswith('[]'): return '[]' + derived_go(t[2:])
    if t.startswith('{}'): return 'map[string]' + derived_go(t[2:])
    table = {'quantity': 'resource.Quantity', 'time': 'v1.Time', 'microtime': 'v1.MicroTime', 'intOrString': 'intstr.IntOrString',
             'any': 'runtime.RawExtension', 'double': 'float64', 'bytes': '[]uint8'}
    if t in table: return table[t]
    return '.'.join(t.split('.')[-2:]) if '.' in t else t

def go_text(go, prefix):
    """The type as Go's reflection names it."""
    go = go.lstrip('*')
    if go.startswith('[]'): return '[]' + ('*' if go[2:].startswith('*') else '') + go_text(go[2:], prefix)
    m = re.match(r'map\[(.*?)\](.*)', go)
    if m: return f'map[{go_text(m[1], prefix)}]{go_text(m[2], prefix)}'
    if go == 'byte': return 'uint8'
    if go in GO_SCALARS: return go
    if '.' in go: return re.sub(r'^metav1\.|^corev1\.|^core\.', 'v1.', go)
    return prefix.rsplit('.', 1)[1] + '.' + go

def go_kind(go, prefix):
    """What a Go type is underneath: a named map or list is a map or list."""
    bare = go.lstrip('*')
    aliases = package(package_of(prefix))[1]
    seen = 0
    while bare in aliases and seen < 5: bare, seen = aliases[bare], seen + 1
    return bare

for line in open(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../api/resources/builtin.tsv')):
    if line.startswith('#'): continue
    gv, plural, kind = line.rstrip('\n').split('\t')[:3]
    if '/' in kind or kind.endswith('Options'): continue
    g, _, v = gv.rpartition('/')
    hit = [n for n, d in defs.items() for x in d.get('x-kubernetes-group-version-kind', []) if (x['group'], x['version'], x['kind']) == (g, v, kind) and '.meta.' not in n]
    if len(hit) != 1: raise SystemExit(f'{gv} {kind}: {hit}')
    need(hit[0])
for r in ROOT_EXTRA: need(r)

inferred = []
blocks = []
at = 0
while at < len(needed):
    name = needed[at]; at += 1
    d = defs[name]
    prefix = name.rsplit('.', 1)[0]
    gvks = [f"{x['group']}/{x['version']}/{x['kind']}" for x in d.get('x-kubernetes-group-version-kind', []) if '.meta.' not in name or x['group'] in ('',)]
    props = d.get('properties') or {}
    required = set(d.get('required') or [])
    go = go_fields(name)
    pb = pb_fields(name, {re.sub(r'[-$_]', '', f).lower() for f in props})
    rows = []
    for f in sorted(props):
        if gvks and f in ('apiVersion', 'kind'):
            rows.append([f, 'string', 'o', '', '', '', '', '']); continue
        p = props[f]
        t = type_of(p, name)
        flags = 'r' if f in required else ''
        gotype = enum = ''
        g = (go or {}).get(f)
        number = pb.get(re.sub(r'[-$_]', '', f).lower())
        structural = '.' in t and not t.startswith(('[', '{'))
        if g:
            if g['omit'] or g['zero']: flags += 'o'
            under = go_kind(g['go'], prefix)
            if g['go'].startswith('*') or (name, f) in OMIT_ZERO: flags += 'p'
            text = go_text(g['go'], prefix)
            if text != derived_go(t): gotype = text
            enum = enum_of(g['go'], prefix)
            if g['path'] and number and g['path'] != number: print(f'{name}.{f}: {g["path"]} or {number}', file=sys.stderr)
            number = g['path'] or number
        else:
            if f not in required and (name, f) not in ALWAYS: flags += 'o'
            scalar = t in ('string', 'int32', 'int64', 'bool', 'double', 'any', 'intOrString', 'quantity', 'time', 'microtime') or t.startswith('schemaOr') or structural
            inferred.append(f'{short(name)}.{f}')
            if scalar and f not in required and (name, f) not in VALUE and f not in ('spec', 'status', 'metadata', 'lastTransitionTime', 'reason', 'message'): flags += 'p'
        ssa = smp = ''
        lt, mt = p.get('x-kubernetes-list-type'), p.get('x-kubernetes-map-type')
        if t.startswith('[]'):
            if lt == 'map': ssa = 'map:' + ','.join(k + ('=' + KEY_DEFAULTS[k] if k in KEY_DEFAULTS else '') for k in p['x-kubernetes-list-map-keys'])
            elif lt == 'set': ssa = 'set'
        elif mt == 'atomic': ssa = 'atomic'
        elif mt == 'granular' and structural: ssa = 'granular'
        s = p.get('x-kubernetes-patch-strategy', '')
        if s:
            smp = s + (':' + p['x-kubernetes-patch-merge-key'] if 'x-kubernetes-patch-merge-key' in p else '')
        if number is None: print(f'no protobuf number: {name}.{f}', file=sys.stderr)
        rows.append([f, t, flags, '.'.join(map(str, number or [])), ssa, smp, gotype, enum])
    atomic = 'atomic' if d.get('x-kubernetes-map-type') == 'atomic' else ''
    blocks.append((short(name), atomic, ' '.join(gvks), rows))

print('# The fields of the built-in types of Kubernetes v1.34; generate.py beside this file writes it.')
print('# type\tatomic?\tgroup/version/kind ...')
print('# \tfield\ttype\tr(equired) o(mitempty) p(ointer)\tprotobuf numbers\tserver-side apply\tstrategic merge\tGo type, where it does not follow\tvalues of an enumeration, ! where none is documented')
for name, atomic, gvks, rows in sorted(blocks):
    print('\t'.join([name, atomic, gvks]).rstrip('\t'))
    for r in rows: print(('\t' + '\t'.join(r)).rstrip('\t'))
print(f'{len(inferred)} fields inferred', file=sys.stderr)
