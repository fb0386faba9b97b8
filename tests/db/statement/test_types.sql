-- name: test_types
-- params: none
-- rows: one
select 1::int2, 2::int4, 3::int8, true, false, null::int8, null::text, 'x'::varchar, '{}'::text[], '{{a},{b}}'::text[]
