#!/bin/sh
# SPDX-License-Identifier: MIT
# deploy/supervise: starts again what dies, leaves nothing behind, survives its own death.
set -u
for tool in bash flock setsid; do
    command -v $tool >/dev/null || { echo "1..0 # SKIP $tool is missing"; exit 0; }
done
dir=$(mktemp -d) || exit 99
supervise=$abs_top_srcdir/deploy/supervise
count=0
status=0

ok() {    # ok NAME COMMAND...: the command succeeds within 5 s
    count=$((count + 1))
    name=$1
    shift
    tries=0
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries = 100 ]; then
            echo "not ok $count - $name"
            sed 's/^/# /' "$dir"/*.log
            status=1
            return
        fi
        sleep 0.05
    done
    echo "ok $count - $name"
}

field() { head -n 1 "$dir/$1" 2>/dev/null; }
runs() { bash "$supervise" --state "$dir" "$1" | grep -q '^running'; }
runs_as_another() { runs "$1" && [ "$(field "$1.$2")" != "$3" ]; }
is_stopped() { [ "$(bash "$supervise" --state "$dir" "$1")" = stopped ]; }
no_process() { ! grep -lqs "$1" /proc/[0-9]*/environ; }
cleanup() {
    for service in keeper worker stubborn holder; do bash "$supervise" --stop "$dir" $service; done
    rm -rf "$dir"
}
trap cleanup EXIT

cat >"$dir/worker.service" <<END
log=$dir/worker.log
environment=(PATH=$PATH MARK=$dir/worker)
address_space=4000000
command=(sh -c 'ulimit -v >$dir/limit; sleep 1000 & wait')
END
cat >"$dir/stubborn.service" <<END
log=$dir/stubborn.log
environment=(PATH=$PATH MARK=$dir/stubborn)
stop_seconds=1
command=(bash -c 'trap "" TERM; while :; do sleep 1; done')
END
# its child outlives it, deaf to SIGTERM, and holds the lock as a child of a web server holds the port
cat >"$dir/holder.service" <<END
log=$dir/holder.log
environment=(PATH=$PATH MARK=$dir/holder)
exclusive=1
command=(bash -c 'exec 8>$dir/port; flock -n 8 || { echo >>$dir/taken; exit 1; }; (trap "" TERM; sleep 1000; :) & wait')
END
cat >"$dir/keeper.service" <<END
log=$dir/keeper.log
environment=(PATH=$PATH MARK=$dir/keeper)
command=(bash $supervise --keep $dir)
END

setsid bash "$supervise" "$dir" worker &
ok 'a service is started' runs worker
ok 'and may grow as large as its definition says' grep -qx 4000000 "$dir/limit"
pid=$(field worker.pid)
kill -KILL "$pid"
ok 'one that was killed is started again' runs_as_another worker pid "$pid"
setsid bash "$supervise" "$dir" worker &
second=$!
ok 'a second supervisor goes away' sh -c "! kill -0 $second"

setsid bash "$supervise" "$dir" holder &
ok 'an exclusive service is started' runs holder
ok 'and takes what only one can have' sh -c "! flock -n '$dir/port' true"
pid=$(field holder.pid)
kill -KILL "$pid"
ok 'killed, it is started again' runs_as_another holder pid "$pid"
ok 'and has it' sh -c "! flock -n '$dir/port' true"
ok 'for what it had left behind was gone before' sh -c "! [ -e '$dir/taken' ]"
bash "$supervise" --stop "$dir" holder
rm -f "$dir/holder.service"

pid=$(field worker.pid)
supervisor=$(field worker.supervisor)
setsid bash "$supervise" "$dir" keeper &
ok 'the keeper runs' runs keeper
ok 'and starts a supervisor for every service' runs stubborn
kill -KILL "$supervisor"
ok 'and replaces one that was killed' runs_as_another worker supervisor "$supervisor"
count=$((count + 1))
if [ "$(field worker.pid)" = "$pid" ]; then
    echo "ok $count - which watches the service that was left"
else
    echo "not ok $count - which watches the service that was left"
    status=1
fi
kill -KILL "$pid"
ok 'and starts it again' runs_as_another worker pid "$pid"

bash "$supervise" --stop "$dir" keeper
bash "$supervise" --stop "$dir" worker
ok 'a stopped service is stopped' is_stopped worker
ok 'with all it started' no_process "MARK=$dir/worker"
bash "$supervise" --stop "$dir" stubborn
ok 'one that does not want to end is killed' no_process "MARK=$dir/stubborn"
echo "1..$count"
exit $status
