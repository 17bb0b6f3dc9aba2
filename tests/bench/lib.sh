# What the benches have in common: a token with a daemon on it, clocks, and the
# table of results. Sourced; it wants $build, $top and $work, and keeps the
# daemon's process in $daemon.
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154

export KSMPOOL_LIBEXEC="$build"
daemon=

die()
{
	echo "$(basename "$0" .sh): $*" >&2
	exit 1
}

# need PROGRAM...: of the build directory.
need()
{
	for f; do
		[ -x "$build/$f" ] ||
		    die "$build/$f: not built; set KSM_BUILD"
	done
}

# Sets $module.
module_find()
{
	module=
	for f in /usr/lib/softhsm/libsofthsm2.so \
	    /usr/lib64/softhsm/libsofthsm2.so \
	    /usr/lib/*/softhsm/libsofthsm2.so; do
		[ -z "$module" ] && [ -f "$f" ] && module=$f
	done
	[ -n "$module" ] || die "no libsofthsm2.so"
}

# Seconds since some moment.
now()
{
	cut -d' ' -f1 /proc/uptime
}

# Milliseconds; /proc/uptime is too coarse for a block.
millis()
{
	date +%s%3N
}

softhsm_conf()
{
	printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
	    "$1" >"$1/softhsm2.conf"
}

ctl()
{
	"$build/ksmctl" --socket "$work/socket" "$@"
}

# A token and its PIN in $work/ksmpool, which may be elsewhere.
token_make()
{
	softhsm_conf "$work/ksmpool"
	od -An -N8 -tx1 /dev/urandom | tr -d ' \n' >"$work/pin"
	SOFTHSM2_CONF=$work/ksmpool/softhsm2.conf softhsm2-util --init-token \
	    --free --label bench --so-pin 12345678 --pin "$(cat "$work/pin")" \
	    >/dev/null || die "softhsm2-util failed"
}

# The token and database of the ksmpool arm.
ksmpool_start()
{
	bits=$1
	alg=$2
	sessions=$3
	cat >"$work/kasp.xml" <<-XML
	<?xml version="1.0"?><KASP><Policy name="bench"><Description>bench</Description>
	<Signatures><Resign>PT2H</Resign><Refresh>P3D</Refresh>
	<Validity><Default>P14D</Default><Denial>P14D</Denial></Validity>
	<Jitter>PT12H</Jitter><InceptionOffset>PT3600S</InceptionOffset></Signatures>
	<Denial><NSEC/></Denial>
	<Keys><TTL>PT3600S</TTL><RetireSafety>PT3600S</RetireSafety>
	<PublishSafety>PT3600S</PublishSafety>
	<KSK><Algorithm length="$bits">$alg</Algorithm><Lifetime>P1Y</Lifetime>
	<Repository>bench</Repository></KSK></Keys>
	<Zone><PropagationDelay>PT1H</PropagationDelay>
	<SOA><TTL>PT1H</TTL><Minimum>PT1H</Minimum><Serial>unixtime</Serial></SOA></Zone>
	<Parent><PropagationDelay>PT1H</PropagationDelay><DS><TTL>PT1H</TTL></DS>
	<SOA><TTL>P2D</TTL><Minimum>PT3H</Minimum></SOA></Parent>
	</Policy></KASP>
	XML
	# Manual, with more zones than are needed: what an explicit topup is
	# told to make is all that is made.
	{
		echo '<?xml version="1.0"?><ZoneList>'
		awk 'BEGIN { for (i = 0; i < 50000; i++)
			printf "<Zone name=\"z%d.example\"><Policy>bench</Policy></Zone>\n", i }'
		echo '</ZoneList>'
	} >"$work/zonelist.xml"
	cat >"$work/ksmpool.xml" <<-XML
	<?xml version="1.0"?><Ksmpool>
	<Policy><PolicyFile>kasp.xml</PolicyFile><ZoneListFile>zonelist.xml</ZoneListFile></Policy>
	<RepositoryList><Repository name="bench"><Module>$module</Module>
	<TokenLabel>bench</TokenLabel><PINFile>pin</PINFile>
	<Sessions>$sessions</Sessions>
	<Environment name="SOFTHSM2_CONF">$work/ksmpool/softhsm2.conf</Environment>
	</Repository></RepositoryList>
	<Pools><Default><Strategy>manual</Strategy></Default></Pools>
	<Daemon><StateDirectory>$work/state</StateDirectory>
	<Socket><Path>$work/socket</Path></Socket><User>$(id -un)</User></Daemon>
	</Ksmpool>
	XML
	"$build/ksmpoold" --config "$work/ksmpool.xml" >"$work/log" 2>&1 &
	daemon=$!
	tries=200
	until ctl version >/dev/null 2>&1; do
		tries=$((tries - 1))
		if [ "$tries" -le 0 ] || ! kill -0 "$daemon" 2>/dev/null; then
			tail -n 20 "$work/log" >&2
			die "ksmpoold does not start"
		fi
		sleep 0.1
	done
}

ksmpool_stop()
{
	kill -TERM "$daemon"
	wait "$daemon"
	daemon=
}

keys_ready()
{
	sqlite3 -readonly "$work/state/ksmpool.db" \
	    "SELECT count(*) FROM keys WHERE state = 'ready'"
}

# arm_X N: make N keys, print the seconds it took.
arm_ksmpool()
{
	had=$(keys_ready)
	begin=$(millis)
	ctl --quiet topup --wait --max "$1" >/dev/null 2>&1
	took=$(($(millis) - begin))
	[ "$(keys_ready)" -eq $((had + $1)) ] || {
		tail -n 5 "$work/log" >&2
		die "ksmpool made $(($(keys_ready) - had)) keys, not $1"
	}
	awk -v t="$took" 'BEGIN { print t / 1000 }'
}

# table NAME FILE: lines "ARM BLOCK KEYS SECONDS" to rates, and the ratio of
# each arm to the bare loop over paired blocks: geometric mean and 95 %
# interval by Student's t on the logarithms; then median, least and most.
table()
{
	awk -v name="$1" '
	BEGIN {
		split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 " \
		    "2.228 2.201 2.179 2.160 2.145 2.131 2.120 2.110 2.101 " \
		    "2.093 2.086", t, " ")
	}
	{
		rate[$1, $2] = $3 / $4
		keys[$1] += $3
		time[$1] += $4
		if (!($1 in seen)) {
			seen[$1] = ++arms
			arm[arms] = $1
		}
		blocks[$1] = $2 > blocks[$1] ? $2 : blocks[$1]
	}
	END {
		for (a = 1; a <= arms; a++) {
			x = arm[a]
			line = sprintf("%-10s %-12s %6d %10.2f", name, x,
			    keys[x], keys[x] / time[x])
			if (x == "bare") {
				print line
				continue
			}
			n = sum = square = 0
			for (b = 1; b <= blocks[x]; b++) {
				if (!((x, b) in rate) || !(("bare", b) in rate))
					continue
				l = log(rate[x, b] / rate["bare", b])
				for (i = n++; i && r[i] > l; i--)
					r[i + 1] = r[i]
				r[i + 1] = l
				sum += l
				square += l * l
			}
			mean = sum / n
			half = 0
			if (n > 1) {
				v = (square - n * mean * mean) / (n - 1)
				df = n - 1 > 20 ? 20 : n - 1
				half = t[df] * sqrt((v > 0 ? v : 0) / n)
			}
			m = (r[int((n + 1) / 2)] + r[int(n / 2) + 1]) / 2
			printf "%s %7.3f  %.3f to %.3f  %7.3f  %.3f to %.3f " \
			    "(%d blocks)\n", line, exp(mean),
			    exp(mean - half), exp(mean + half), exp(m),
			    exp(r[1]), exp(r[n]), n
		}
	}' "$2"
}

table_head()
{
	printf '%-10s %-12s %6s %10s %7s  %-14s  %7s  %s\n' CASE ARM KEYS KEYS/S \
	    RATIO "95 % INTERVAL" MEDIAN "LEAST TO MOST"
}
