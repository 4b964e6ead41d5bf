#include "cli/table.hpp"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace nagaya::cli {

namespace {

// Characters a terminal shows, for UTF-8 text without wide ones.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string as_table(const Table& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = width_of(table.columns[i]);
    for (const auto& row : table.rows) width = std::max(width, width_of(row[i]));
    widths.push_back(width);
  }
  std::string out;
  auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (std::size_t i = 0; i < cells.size(); ++i) text += cells[i] + std::string(widths[i] + 2 - width_of(cells[i]), ' ');
    text.erase(text.find_last_not_of(' ') + 1);
    out += text + '\n';
  };
  std::vector<std::string> head;
  for (const std::string& column : table.columns) head.push_back(upper(column));
  line(head);
  for (const auto& row : table.rows) line(row);
  return out;
}

// A JSON string is also a YAML one; invalid UTF-8 becomes the replacement character.
std::string quoted(const std::string& text) {
  return nlohmann::ordered_json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string as_json(const Table& table) {
  auto rows = nlohmann::ordered_json::array();
  for (const auto& row : table.rows) {
    nlohmann::ordered_json object;
    for (std::size_t i = 0; i < row.size(); ++i) object[table.columns[i]] = row[i];
    rows.push_back(std::move(object));
  }
  return rows.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string as_yaml(const Table& table) {
  if (table.rows.empty()) return "[]\n";
  std::string out;
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i) out += (i == 0 ? "- " : "  ") + table.columns[i] + ": " + quoted(row[i]) + "\n";
  return out;
}

// RFC 4180.
std::string as_csv(const Table& table) {
  std::string out;
  auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i != 0) out += ',';
      if (cells[i].find_first_of(",\"\r\n") == std::string::npos) {
        out += cells[i];
        continue;
      }
      out += '"';
      for (char c : cells[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
      out += '"';
    }
    out += "\r\n";
  };
  line(table.columns);
  for (const auto& row : table.rows) line(row);
  return out;
}

}  // namespace

const std::vector<std::string>& table_formats() {
  static const std::vector<std::string> names{"table", "json", "yaml", "csv"};
  return names;
}

std::string render(const Table& table, std::string_view format) {
  if (format == "json") return as_json(table);
  if (format == "yaml") return as_yaml(table);
  if (format == "csv") return as_csv(table);
  return as_table(table);
}

}  // namespace nagaya::cli
