#include "api/database.hpp"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/scope.hpp"
#include "host/fd.hpp"

#include <fcntl.h>

namespace nagaya::api {
namespace {

constexpr int schema_version = 1;
constexpr const char* tables[] = {
    "CREATE TABLE tokens(name TEXT PRIMARY KEY, id TEXT UNIQUE NOT NULL, salt TEXT NOT NULL, hash TEXT NOT NULL, role TEXT NOT NULL,"
    " projects TEXT NOT NULL, created TEXT NOT NULL, expires INTEGER NOT NULL) STRICT",
    "CREATE TABLE operations(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, target TEXT NOT NULL, project TEXT NOT NULL,"
    " state TEXT NOT NULL, message TEXT NOT NULL, error TEXT NOT NULL, started TEXT NOT NULL, finished TEXT NOT NULL) STRICT",
    "CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, json TEXT NOT NULL) STRICT",
};

}  // namespace

Result<std::unique_ptr<Database>> Database::open(const std::string& path) {
  // Made before SQLite does, so that secrets' hashes are never readable for others.
  if (path != ":memory:") TRY(host::Fd::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  std::unique_ptr<Database> out(new Database(handle));
  if (code != SQLITE_OK) return fail(fmt::format("cannot open '{}'", path), sqlite3_errstr(code));
  sqlite3_busy_timeout(handle, 5000);
  for (const char* pragma : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "PRAGMA foreign_keys=ON"}) TRY(out->run(pragma));
  TRY_ASSIGN(const auto version, out->run("PRAGMA user_version"));
  const i64 found = version.empty() ? 0 : number_of(version[0][0]);
  if (found > schema_version) return fail(fmt::format("'{}'", path), "a newer Nagaya made it", "use that one");
  if (found == 0) {
    TRY(out->run("BEGIN IMMEDIATE"));
    for (const char* table : tables) TRY(out->run(table));
    TRY(out->run(fmt::format("PRAGMA user_version={}", schema_version)));
    TRY(out->run("COMMIT"));
  }
  return out;
}

Database::~Database() { sqlite3_close(handle_); }

Result<std::vector<Database::Row>> Database::run(const std::string& sql, const std::vector<Value>& values) {
  const std::lock_guard lock(mutex_);
  return run_locked(sql, values);
}

Result<i64> Database::insert(const std::string& sql, const std::vector<Value>& values) {
  const std::lock_guard lock(mutex_);
  TRY(run_locked(sql, values));
  return sqlite3_last_insert_rowid(handle_);
}

Result<std::vector<Database::Row>> Database::run_locked(const std::string& sql, const std::vector<Value>& values) {
  sqlite3_stmt* statement = nullptr;
  const auto broken = [&]() -> std::unexpected<Error> { return fail("the server's database", sqlite3_errmsg(handle_)); };
  if (sqlite3_prepare_v2(handle_, sql.c_str(), static_cast<int>(sql.size()), &statement, nullptr) != SQLITE_OK) return broken();
  const ScopeExit finalize([&] { sqlite3_finalize(statement); });
  for (std::size_t i = 0; i < values.size(); i++) {
    const int place = static_cast<int>(i) + 1;
    int code = SQLITE_OK;
    if (const i64* number = std::get_if<i64>(&values[i])) {
      code = sqlite3_bind_int64(statement, place, *number);
    } else if (const std::string* text = std::get_if<std::string>(&values[i])) {
      code = sqlite3_bind_text64(statement, place, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
    } else {
      code = sqlite3_bind_null(statement, place);
    }
    if (code != SQLITE_OK) return broken();
  }
  std::vector<Row> rows;
  for (;;) {
    const int code = sqlite3_step(statement);
    if (code == SQLITE_DONE) return rows;
    if (code != SQLITE_ROW) return broken();
    Row row;
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
      switch (sqlite3_column_type(statement, i)) {
        case SQLITE_INTEGER: row.emplace_back(i64{sqlite3_column_int64(statement, i)}); break;
        case SQLITE_NULL: row.emplace_back(); break;
        default:
          row.emplace_back(std::string(reinterpret_cast<const char*>(sqlite3_column_text(statement, i)),
                                       static_cast<std::size_t>(sqlite3_column_bytes(statement, i))));
      }
    }
    rows.push_back(std::move(row));
  }
}

std::string text_of(const Database::Value& value) {
  const std::string* text = std::get_if<std::string>(&value);
  return text == nullptr ? "" : *text;
}

i64 number_of(const Database::Value& value) {
  const i64* number = std::get_if<i64>(&value);
  return number == nullptr ? 0 : *number;
}

}  // namespace nagaya::api
