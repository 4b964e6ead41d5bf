// The server's own state in SQLite: tokens, operations, events. One connection, shared under its mutex.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

struct sqlite3;

namespace nagaya::api {

class Database {
 public:
  using Value = std::variant<std::monostate, i64, std::string>;
  using Row = std::vector<Value>;

  /// Makes the file (mode 0600) and its tables as needed. ":memory:" for tests.
  static Result<std::unique_ptr<Database>> open(const std::string& path);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// One statement; gives its rows.
  Result<std::vector<Row>> run(const std::string& sql, const std::vector<Value>& values = {});
  /// The id of the last row put in by `run`, as one step with it.
  Result<i64> insert(const std::string& sql, const std::vector<Value>& values);

 private:
  explicit Database(sqlite3* handle) : handle_(handle) {}
  Result<std::vector<Row>> run_locked(const std::string& sql, const std::vector<Value>& values);
  std::mutex mutex_;
  sqlite3* handle_;  // guarded by mutex_
};

[[nodiscard]] std::string text_of(const Database::Value& value);
[[nodiscard]] i64 number_of(const Database::Value& value);

}  // namespace nagaya::api
