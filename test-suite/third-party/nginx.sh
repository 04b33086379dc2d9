#!/usr/bin/env bash
# Asks nginx, the program that is named, for what its core and its HTTP modules do, and prints "ok NAME" or "not ok NAME".
set -euo pipefail
nginx=$1
dir=$(mktemp -d)

# within TIME COMMAND...: runs it again until it succeeds, for as many tenths of a second.
within() {
    local tries=$1
    shift
    until "$@" 2>/dev/null; do
        [ $((tries -= 1)) -gt 0 ] || return
        sleep 0.1
    done
}

# Nobody listens there. Somebody may come before nginx does, and then it does not start.
is_free() { ! (: <>"/dev/tcp/127.0.0.1/$1"); }
pick_port() { port=$((20000 + RANDOM % 12000)) && is_free "$port"; }
has_ended() { ! [ -e "$dir/pid" ]; }
have_ended() {
    local pid
    for pid in "$@"; do
        ! [ -e "/proc/$pid" ] || return 1
    done
}
clean_up() {
    if [ -e "$dir/pid" ]; then
        "$nginx" -p "$dir" -c "$dir/conf" -s quit 2>/dev/null || true
        within 100 has_ended || true
    fi
    rm -rf "$dir"
}
trap clean_up EXIT

within 100 pick_port
url=http://127.0.0.1:$port

mkdir -p "$dir/root/list" "$dir/logs"
seq 20000 >"$dir/root/numbers.txt"
gzip -k "$dir/root/numbers.txt"
echo 'before <!--#echo var="request_method" --> after' >"$dir/root/page.html"
echo one >"$dir/root/list/one"
echo hello >"$dir/root/index.html"
cat >"$dir/conf" <<EOF
user root;
worker_processes 2;
pid $dir/pid;
error_log $dir/logs/error.log;
events { worker_connections 256; }
http {
    access_log $dir/logs/access.log;
    client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi;
    uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
    map \$arg_a \$mapped { default none; one uno; ~^t two; }
    limit_req_zone \$binary_remote_addr zone=slow:1m rate=1r/m;
    proxy_cache_path $dir/cache keys_zone=kept:1m;
    split_clients \$request_uri \$half { 50% a; * b; }
    geo \$local { default no; 127.0.0.0/8 yes; }
    upstream both { server 127.0.0.1:$port; server 127.0.0.1:$port; keepalive 4; }
    server {
        listen 127.0.0.1:$port;
        root $dir/root;
        add_header X-Test kept;
        location /list/ { autoindex on; }
        location /zipped/ { alias $dir/root/; gzip on; gzip_types *; gzip_min_length 1; }
        location /static-zip/ { alias $dir/root/; gzip_static on; }
        location /proxy/ { proxy_pass http://both/; proxy_http_version 1.1; proxy_set_header Connection ""; }
        location /cached/ { proxy_pass http://both/; proxy_cache kept; proxy_cache_valid 1m; add_header X-Cache \$upstream_cache_status; }
        location /ssi/ { alias $dir/root/; ssi on; }
        location /sub/ { alias $dir/root/; sub_filter hello goodbye; }
        location /map { return 200 "\$mapped \$local"; }
        location /rewrite { rewrite ^/rewrite/(.*)\$ /\$1 last; }
        location /if { if (\$request_method = DELETE) { return 405; } return 200 get; }
        location /limited { limit_req zone=slow; return 200 slow; try_files /index.html =404; }
        location /denied { deny all; }
        location /moved { return 301 /index.html; }
        location /status { stub_status; }
        location ~ ^/regex/(?<part>[a-z]+)/([0-9]+)\$ { return 200 "\$part-\$2"; }
        error_page 404 /missing;
        location = /missing { internal; return 404 "nothing here"; }
    }
}
EOF

check() {
    local name=$1 expected=$2
    shift 2
    local found
    found=$(curl -s -m 10 "$@" | head -c 300000 | md5sum) || true
    if [ "$found" = "$(printf '%s' "$expected" | md5sum)" ]; then echo "ok $name"; else echo "not ok $name"; fi
}
status() { check "$1" "$2" -o /dev/null -w '%{http_code}' "${@:3}"; }

"$nginx" -p "$dir" -c "$dir/conf" -t 2>/dev/null && echo "ok configuration" || echo "not ok configuration"
"$nginx" -p "$dir" -c "$dir/conf"
curl -s -o /dev/null --retry 20 --retry-connrefused --retry-delay 1 "$url/"

numbers=$(cat "$dir/root/numbers.txt"; echo x)
numbers=${numbers%x}
hello=$'hello\n'
check index "$hello" "$url/"
check file "$numbers" "$url/numbers.txt"
check range "${numbers:100:101}" -r 100-200 "$url/numbers.txt"
check gzip "$numbers" --compressed "$url/zipped/numbers.txt"
check gzip-static "$numbers" --compressed "$url/static-zip/numbers.txt"
check proxy "$numbers" "$url/proxy/numbers.txt"
check proxy-of-proxy "$hello" "$url/proxy/proxy/index.html"
check cache "$hello" "$url/cached/index.html"
check cache-again "HIT" -o /dev/null -w '%header{x-cache}' "$url/cached/index.html"
check ssi $'before GET after\n' "$url/ssi/page.html"
check sub-filter $'goodbye\n' "$url/sub/index.html"
check map "uno yes" "$url/map?a=one"
check map-regex "two yes" "$url/map?a=three"
check map-default "none yes" "$url/map"
check rewrite "$hello" "$url/rewrite/index.html"
check regex "abc-12" "$url/regex/abc/12"
check error-page "nothing here" "$url/no-such"
status not-found 404 "$url/no-such"
status denied 403 "$url/denied"
status moved 301 "$url/moved"
status head 200 -I "$url/numbers.txt"
status method 405 -X DELETE "$url/if"
status bad-request 400 -H "Host:" -H "Content-Length: x" "$url/"
status autoindex 200 "$url/list/"
status stub-status 200 "$url/status"
check header kept -o /dev/null -w '%header{x-test}' "$url/"
check many-requests "$(yes 200 | head -300 | tr '\n' ' ')" -K <(for _ in $(seq 300); do printf 'url = %s/proxy/index.html\noutput = /dev/null\nwrite-out = "%%{http_code} "\n' "$url"; done)
main=$(cat "$dir/pid")
read -ra workers <<<"$(cat "/proc/$main/task/$main/children")"
"$nginx" -p "$dir" -c "$dir/conf" -s reload && echo "ok reload" || echo "not ok reload"
within 100 have_ended "${workers[@]}" || echo "not ok old workers end"
check after-reload "$hello" "$url/proxy/index.html"
grep -qE 'alert|emerg|signal 11' "$dir/logs/error.log" && echo "not ok log" || echo "ok log"
