# Brings what Debian's packages hold for the tests of PostgreSQL and nobody wants installed, into the folder $1: PostgreSQL's own regression suite with its C functions
# compiled, and databases' schemas of applications. Packages are downloaded with apt, with lists of its own and the signatures of the system's sources, and only unpacked;
# no root is needed. The file `complete` comes last.
set -eu
folder=$1
rm -rf "$folder"
mkdir -p "$folder/apt/sources" "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/apt/packages"
cd "$folder/apt"

# The system's sources that are Debian's, of binary and of source packages.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -f "$file" ] && grep -qi debian "$file"; then
        case $file in
            *.sources) sed 's/^Types:.*/Types: deb deb-src/' "$file" ;;
            *) sed -n 's/^deb\(-src\)\{0,1\} /deb /p' "$file" | sort -u | sed 'p; s/^deb /deb-src /' ;;
        esac > "sources/$(basename "$file")"
    fi
done
apt() {
    program=$1
    shift
    "$program" -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$PWD/sources" -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" \
        -o APT::Sandbox::User=root -o Debug::NoLocking=1 "$@"
}
apt apt-get update

# The newest source package that can be had: one may be missing where its binary packages are there.
found=
for version in $(apt apt-cache showsrc postgresql-15 | sed -n 's/^Version: //p' | sort -rVu); do
    if apt apt-get source --download-only "postgresql-15=$version"; then
        found=$version
        break
    fi
done
[ -n "$found" ] || { echo "no source package of postgresql-15 can be downloaded" >&2; exit 1; }

# The suite, and two examples of triggers in C that it uses.
python3 - postgresql-15_*.orig.tar.* "$folder/regress" <<'END'
import pathlib, sys, tarfile
archive, target = sys.argv[1], pathlib.Path(sys.argv[2])
with tarfile.open(archive) as tar:
    for member in tar:
        path = pathlib.PurePosixPath(member.name)
        inside = path.parts[1:]
        if not member.isfile():
            continue
        if inside[:3] == ("src", "test", "regress"):
            destination = target.joinpath(*inside[3:])
        elif inside[:2] == ("contrib", "spi") and path.name in ("refint.c", "autoinc.c"):
            destination = target / path.name
        else:
            continue
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(tar.extractfile(member).read())
END
# The headers of the server that will load them: those of another minor version may name functions that it lacks.
server=$(dpkg-query --show --showformat='${Version}' postgresql-15)
apt apt-get download "postgresql-server-dev-15=$server"
dpkg-deb --extract postgresql-server-dev-15_*.deb packages
for name in regress refint autoinc; do
    cc -shared -fPIC -O1 -w -I packages/usr/include/postgresql/15/server -o "$folder/regress/$name.so" "$folder/regress/$name.c"
done

# A line each: the package, and its schema.
mkdir "$folder/schemas"
while read -r package file; do
    apt apt-get download "$package"
    dpkg-deb --extract "$package"_*.deb packages
    cp "packages/$file" "$folder/schemas/$package.sql"
done <<'END'
bacula-director-pgsql usr/share/dbconfig-common/data/bacula-director-pgsql/install/pgsql
ejabberd usr/share/ejabberd/sql/pg.new.sql
icinga2-ido-pgsql usr/share/dbconfig-common/data/icinga2-ido-pgsql/install/pgsql
icingadb usr/share/icingadb/schema/pgsql/schema.sql
pdns-backend-pgsql usr/share/pdns-backend-pgsql/schema/schema.pgsql.sql
roundcube-core usr/share/dbconfig-common/data/roundcube/install/pgsql
END
cd "$folder"
rm -rf apt
chmod -R a+rX .
echo "$found" > complete
