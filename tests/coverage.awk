# SPDX-License-Identifier: MIT
# Reads gcov's summaries, prints one line per source file and the total.
/^File '/ {
    name = $2
    gsub(/'/, "", name)
}
/^Lines executed:/ {
    if (name == "")
        next
    split($0, part, /[:% ]+/)
    percent = part[3]
    count = $NF
    if (!(name in lines)) {
        lines[name] = count
        hit[name] = percent * count / 100
        order[++files] = name
    } else if (percent * count / 100 > hit[name])
        hit[name] = percent * count / 100
    name = ""
}
END {
    for (i = 1; i <= files; i++) {
        printf "%6.1f%% of %5d  %s\n", 100 * hit[order[i]] / lines[order[i]], lines[order[i]], order[i]
        all += lines[order[i]]
        executed += hit[order[i]]
    }
    if (all)
        printf "%6.1f%% of %5d  total\n", 100 * executed / all, all
}
