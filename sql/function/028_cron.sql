-- Cron expressions, as the official SDKs read them: five fields, or six with seconds in front, or a
-- nickname. The day of the month and the day of the week must both fit. An instant fits where the
-- clock of the time zone, at that instant, shows what the expression says: so a time that a change
-- of the clock skips never comes, and one that it repeats comes twice. Time zones are PostgreSQL's.

-- The values of one field, ascending. p_name are the names of its values from p_min on, p_wrap the
-- value after which it begins again, p_token a regular expression of what else may stand there.
create or replace function openclaw.cron_field(
  p_what text,
  p_field text,
  p_min integer,
  p_max integer,
  p_wrap integer,
  p_name text[],
  p_token text
)
returns text[]
language plpgsql
immutable
set search_path = pg_catalog
as $$
declare
  v_size constant integer := p_wrap - p_min + 1;
  v_field text := lower(p_field);
  v_item text;
  v_part text[];
  v_first integer;
  v_last integer;
  v_step integer;
  v_value text[] := '{}';
begin
  for v_first in 1 .. coalesce(cardinality(p_name), 0) loop
    v_field := regexp_replace(
      v_field, '\m' || left(p_name[v_first], 3) || '(' || substr(p_name[v_first], 4) || ')?',
      (v_first - 1 + p_min)::text, 'g'
    );
  end loop;

  foreach v_item in array string_to_array(v_field, ',') loop
    v_part := regexp_match(v_item, '^(?:\*|0*(\d{1,2})(?:-0*(\d{1,2}))?)(?:/0*(\d{1,3}))?$');
    if p_token <> '' and v_item ~ ('^(' || p_token || ')$') then
      v_value := v_value || upper(v_item);
      continue;
    end if;
    v_first := coalesce(v_part[1]::integer, p_min);
    v_last := coalesce(v_part[2], v_part[1], p_wrap::text)::integer;
    v_step := coalesce(v_part[3]::integer, 1);
    if v_part is null
      or (v_part[1] is not null and v_part[2] is null and v_part[3] is not null)
      or v_step = 0
      or least(v_first, v_last) < p_min
      or greatest(v_first, v_last) > p_max
    then
      raise exception '"%" is no % of a schedule: %, or a list, a range or * with a step of these',
        v_item, p_what, format('%s to %s', p_min, p_max)
        using errcode = 'OC005';
    end if;
    if v_last < v_first then
      v_last := v_last + v_size;
    end if;
    v_value := v_value || array(
      select (case when g.n > p_wrap then g.n - v_size else g.n end)::text
      from generate_series(v_first, v_last, v_step) as g (n)
    );
  end loop;

  return array(
    select distinct on (length(v.value), v.value) v.value
    from unnest(v_value) as v (value)
    order by length(v.value), v.value
  );
end
$$;

create or replace function openclaw.cron_parse(
  p_schedule text,
  out seconds integer[],
  out minutes integer[],
  out hours integer[],
  out days text[],
  out months integer[],
  out weekdays text[]
)
language plpgsql
immutable
set search_path = pg_catalog
as $$
declare
  v_schedule text := lower(btrim(p_schedule, E' \t\r\n'));
  v_field text[];
begin
  v_schedule := case v_schedule
    when '@yearly' then '0 0 1 1 *'
    when '@annually' then '0 0 1 1 *'
    when '@monthly' then '0 0 1 * *'
    when '@weekly' then '0 0 * * 0'
    when '@daily' then '0 0 * * *'
    when '@midnight' then '0 0 * * *'
    when '@hourly' then '0 * * * *'
    else v_schedule
  end;
  if v_schedule like '@%' then
    raise exception 'there is no nickname "%"; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly',
      v_schedule
      using errcode = 'OC005';
  end if;
  v_field := regexp_split_to_array(v_schedule, '\s+');
  if cardinality(v_field) = 5 then
    v_field := array_prepend('0', v_field);
  end if;
  if cardinality(v_field) <> 6 then
    raise exception 'the schedule "%" has % fields; there are five (minute, hour, day of the month, month, day of the week), or six with the second in front',
      p_schedule, case when v_schedule = '' then 0 else cardinality(v_field) end
      using errcode = 'OC005';
  end if;

  seconds := openclaw.cron_field('second', v_field[1], 0, 59, 59, null, '')::integer[];
  minutes := openclaw.cron_field('minute', v_field[2], 0, 59, 59, null, '')::integer[];
  hours := openclaw.cron_field('hour', v_field[3], 0, 23, 23, null, '')::integer[];
  -- l: the last day; l-n: n days before it; nw, lw: the working day nearest to it
  days := openclaw.cron_field(
    'day of the month', case v_field[4] when '?' then '*' else v_field[4] end, 1, 31, 31, null,
    'l|l-0?[1-9]|l-[12][0-9]|l-30|0?[1-9]w|[12][0-9]w|3[01]w|lw'
  );
  months := openclaw.cron_field(
    'month', v_field[5], 1, 12, 12,
    '{january,february,march,april,may,june,july,august,september,october,november,december}', ''
  )::integer[];
  -- n#m: the m-th such day of a month; nl: the last one
  weekdays := openclaw.cron_field(
    'day of the week', case v_field[6] when '?' then '*' else v_field[6] end, 0, 7, 6,
    '{sunday,monday,tuesday,wednesday,thursday,friday,saturday}', '[0-7]#[1-5]|[0-7]l'
  );

  if array_to_string(days, '') ~ '^\d*$' and not exists (
    select
    from unnest(days) as d (day), unnest(months) as m (month)
    where d.day::integer <= ('{31,29,31,30,31,30,31,31,30,31,30,31}'::integer[])[m.month]
  ) then
    raise exception 'the schedule "%" never comes: none of its months has such a day', p_schedule
      using errcode = 'OC005';
  end if;
end
$$;

-- Is this a day of these days of the month, and of these days of the week?
create or replace function openclaw.cron_runs_on(p_days text[], p_weekdays text[], p_day date)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog
as $$
declare
  v_day constant integer := extract(day from p_day);
  v_weekday constant integer := extract(dow from p_day);
  v_last constant integer := extract(day from date_trunc('month', p_day::timestamp) + interval '1 month - 1 day');
  v_token text;
  v_target integer;
  v_fits boolean := v_weekday::text = any (p_weekdays);
begin
  foreach v_token in array p_weekdays loop
    exit when v_fits;
    continue when length(v_token) = 1;
    v_fits := left(v_token, 1)::integer % 7 = v_weekday and case
      when right(v_token, 1) = 'L' then v_day + 7 > v_last
      else (v_day - 1) / 7 + 1 = right(v_token, 1)::integer
    end;
  end loop;
  if not v_fits or v_day::text = any (p_days) then
    return v_fits;
  end if;

  foreach v_token in array p_days loop
    continue when v_token ~ '^\d+$';
    if v_token in ('L', 'LW') then
      v_target := v_last;
    elsif v_token like 'L-%' then
      v_target := v_last - substr(v_token, 3)::integer;
    else
      v_target := rtrim(v_token, 'W')::integer;
    end if;
    if v_token like '%W' and v_target <= v_last then
      v_target := v_target + case extract(dow from p_day + (v_target - v_day))
        when 6 then case when v_target = 1 then 2 else -1 end
        when 0 then case when v_target = v_last then -2 else 1 end
        else 0
      end;
    end if;
    if v_target = v_day then
      return true;
    end if;
  end loop;
  return false;
end
$$;

-- The first second of a day, p_from or later, that fits; null where there is none.
create or replace function openclaw.cron_time(
  p_hours integer[],
  p_minutes integer[],
  p_seconds integer[],
  p_from integer
)
returns integer
language sql
immutable
set search_path = pg_catalog
as $$
  select h.hour * 3600 + m.minute * 60 + s.second
  from unnest(p_hours) as h (hour)
  cross join lateral (
    select n.minute
    from unnest(p_minutes) as n (minute)
    where h.hour * 3600 + n.minute * 60 + p_seconds[cardinality(p_seconds)] >= p_from
    order by n.minute
    limit 1
  ) m
  cross join lateral (
    select min(n.second) as second
    from unnest(p_seconds) as n (second)
    where h.hour * 3600 + m.minute * 60 + n.second >= p_from
  ) s
  where h.hour * 3600 + 3599 >= p_from
  order by h.hour
  limit 1
$$;

-- Seconds by which the clocks of a time zone are before UTC's at this second since 1970. A zone is a
-- name of the IANA's, or +hh:mm east of Greenwich; null is UTC.
create or replace function openclaw.zone_offset(p_zone text, p_at bigint)
returns integer
language sql
stable
set search_path = pg_catalog
as $$
  select (extract(epoch from case
    when p_zone ~ '^[+-]\d\d:?\d\d$' then to_timestamp(p_at) at time zone p_zone::interval
    else to_timestamp(p_at) at time zone coalesce(nullif(p_zone, ''), 'UTC')
  end) - p_at)::integer
$$;

-- Raises what is wrong with an expression or a time zone, and says what to write instead.
create or replace function openclaw.cron_check(p_schedule text, p_zone text)
returns void
language plpgsql
stable
set search_path = pg_catalog
as $$
begin
  perform openclaw.cron_parse(p_schedule);
  if p_zone <> ''
    and p_zone !~ '^[+-](0\d|1[0-4]):?[0-5]\d$'
    and not exists (select from pg_timezone_names z where lower(z.name) = lower(p_zone))
  then
    raise exception 'there is no time zone "%"; one is, say, Europe/Berlin, UTC or +05:30', p_zone
      using errcode = 'OC005';
  end if;
end
$$;

-- The first instant after p_after that fits, in milliseconds since 1970; null where there is none in
-- a hundred years.
create or replace function openclaw.cron_next(p_schedule text, p_zone text, p_after bigint)
returns bigint
language plpgsql
stable
set search_path = pg_catalog
as $$
declare
  v_base constant bigint := floor(p_after / 1000.0)::bigint + 1;
  v_cron record;
  v_day date;
  v_end date;
  v_start bigint;
  v_low bigint;
  v_high bigint;
  v_middle bigint;
  v_before integer;
  v_after integer;
  v_second integer;
begin
  select *
  into v_cron
  from openclaw.cron_parse(p_schedule);
  v_day := date '1970-01-01' + floor((v_base + openclaw.zone_offset(p_zone, v_base)) / 86400.0)::integer;
  v_end := v_day + 36600;
  while v_day <= v_end loop
    if extract(month from v_day) <> all (v_cron.months) then
      v_day := date_trunc('month', v_day::timestamp) + interval '1 month';
      continue;
    end if;
    if openclaw.cron_runs_on(v_cron.days, v_cron.weekdays, v_day) then
      -- the day's instants lie between these two, and the clocks change once among them at most
      v_start := (v_day - date '1970-01-01')::bigint * 86400;
      v_low := v_start - 15 * 3600;
      v_high := v_start + (24 + 13) * 3600;
      v_before := openclaw.zone_offset(p_zone, v_low);
      v_after := openclaw.zone_offset(p_zone, v_high);
      while v_before <> v_after and v_high - v_low > 1 loop
        v_middle := (v_low + v_high) / 2;
        if openclaw.zone_offset(p_zone, v_middle) = v_before then
          v_low := v_middle;
        else
          v_high := v_middle;
        end if;
      end loop;

      -- until then by the one clock, from then on by the other
      v_second := openclaw.cron_time(
        v_cron.hours, v_cron.minutes, v_cron.seconds, greatest(0, v_base + v_before - v_start)::integer
      );
      if v_second < v_high + v_before - v_start then
        return (v_start + v_second - v_before) * 1000;
      end if;
      v_second := openclaw.cron_time(
        v_cron.hours, v_cron.minutes, v_cron.seconds,
        greatest(0, v_base + v_after - v_start, v_high + v_after - v_start)::integer
      );
      if v_before <> v_after and v_second is not null then
        return (v_start + v_second - v_after) * 1000;
      end if;
    end if;
    v_day := v_day + 1;
  end loop;
  return null;
end
$$;
