# SPDX-License-Identifier: MIT
"""What a schema is made of, read from the catalogs.

read(cluster, database, schema) -> {"kind name": {"property": value}}

Kinds: table, column, constraint, index, function, trigger, type, other.  The order of columns is
left out, so are the sources of functions: they are compared by calling them.
"""

QUERIES = {
    "table": """
        select c.relname as name, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity,
               c.relispartition, c.reloptions, c.relacl
          from pg_class c
         where c.relnamespace = %s
           and c.relkind in ('r', 'p', 'f')""",
    "column": """
        select c.relname || '.' || a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
               a.attnotnull, pg_get_expr(d.adbin, d.adrelid) as "default",
               a.attidentity, a.attgenerated, a.attstorage, a.attcompression, a.attcollation,
               a.attacl
          from pg_class c
          join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where c.relnamespace = %s
           and c.relkind in ('r', 'p', 'f')""",
    "constraint": """
        select c.conrelid::regclass || '.' || c.conname as name,
               pg_get_constraintdef(c.oid) as definition, c.convalidated, c.condeferrable
          from pg_constraint c
         where c.connamespace = %s""",
    "index": """
        select c.relname as name, pg_get_indexdef(i.indexrelid) as definition,
               i.indisvalid, i.indisunique, i.indisprimary, c.reloptions
          from pg_index i
          join pg_class c on c.oid = i.indexrelid
         where c.relnamespace = %s""",
    "function": """
        select p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name,
               pg_get_function_arguments(p.oid) as arguments,
               pg_get_function_result(p.oid) as result, l.lanname, p.prokind, p.provolatile,
               p.proisstrict, p.prosecdef, p.proleakproof, p.proparallel, p.proconfig, p.proacl
          from pg_proc p
          join pg_language l on l.oid = p.prolang
         where p.pronamespace = %s""",
    "trigger": """
        select t.tgrelid::regclass || '.' || t.tgname as name,
               pg_get_triggerdef(t.oid) as definition, t.tgenabled
          from pg_trigger t
          join pg_class c on c.oid = t.tgrelid
         where not t.tgisinternal
           and c.relnamespace = %s""",
    "type": """
        select t.typname as name, t.typtype
          from pg_type t
          left join pg_class c on c.oid = t.typrelid
         where coalesce(c.relkind, 'c') = 'c'
           and t.typelem = 0
           and t.typnamespace = %s""",
    "other": """
        select c.relname as name, c.relkind
          from pg_class c
         where c.relkind not in ('r', 'p', 'f', 'i', 't')
           and c.relnamespace = %s""",
}


def read(cluster, database, schema):
    found = {}
    for kind, query in QUERIES.items():
        for row in cluster.rows(query % f"'{schema}'::regnamespace", database):
            found[f"{kind} {row.pop('name')}"] = row
    return found


def differences(ours, theirs):
    """{"kind name": text}, one entry for each object that is not the same in both."""
    result = {}
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            result[name] = "only ours has it"
        elif name not in ours:
            result[name] = "only theirs has it"
        elif ours[name] != theirs[name]:
            result[name] = "; ".join(
                f"{key}: ours {ours[name][key]}, theirs {theirs[name][key]}"
                for key in ours[name]
                if ours[name][key] != theirs[name][key]
            )
    return result
