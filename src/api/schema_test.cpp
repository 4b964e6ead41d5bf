#include "api/schema.hpp"

#include <gtest/gtest.h>

#include "api/text.hpp"

namespace nagaya::api {
namespace {

const Document& document() {
  static const auto parsed = Document::parse(document_text());
  EXPECT_TRUE(parsed) << parsed.error().message();
  return **parsed;
}

std::string field_of(const char* schema, const std::string& text) {
  const auto json = read_json(text);
  if (!json) return "(text)";
  const auto ok = validate(document(), document().schema(schema), *json);
  if (ok) return "";
  EXPECT_EQ(ok.error().status, 400u);
  return ok.error().field.empty() ? "(all)" : ok.error().field;
}

TEST(Schema, NamesTheFirstWrongField) {
  EXPECT_EQ(field_of("Definition", R"({"image":"debian"})"), "");
  EXPECT_EQ(field_of("Definition", R"({})"), "image");
  EXPECT_EQ(field_of("Definition", R"([])"), "(all)");
  EXPECT_EQ(field_of("Definition", R"({"image":5})"), "image");
  EXPECT_EQ(field_of("Definition", R"({"image":""})"), "image");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","colour":1})"), "colour");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","limits":{"memory":-1}})"), "limits.memory");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","limits":{"memory":1.5}})"), "limits.memory");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","limits":{"memory":99999999999999999999999}})"), "limits.memory");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","limits":{"memory":18446744073709551615}})"), "limits.memory");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","limits":{"cpus":0.5}})"), "");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","command":["a",1]})"), "command[1]");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","kind":"VM"})"), "kind");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","terminal":"true"})"), "terminal");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","labels":{"a":1}})"), "labels.a");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","hostname":null})"), "hostname");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","env":["A=\u0000"]})"), "env[0]");
  EXPECT_EQ(field_of("Update", R"({})"), "(all)");
  EXPECT_EQ(field_of("NewToken", R"({"name":"a","role":"root"})"), "role");
  EXPECT_EQ(field_of("NewToken", R"({"name":"a","role":"viewer","expires":"tomorrow"})"), "expires");
  EXPECT_EQ(field_of("NewToken", R"({"name":"a","role":"viewer","expires":"2030-02-29T00:00:00Z"})"), "expires");
  EXPECT_EQ(field_of("NewToken", R"({"name":"a","role":"viewer","expires":"2032-02-29T23:59:60.5+01:00"})"), "");
}

TEST(Schema, NamesAreHarmless) {
  for (const char* bad : {"", "..", ".a", "-rm", "a/b", "a b", "a\\nb", "a\\u0000", "ä", "a:b", "a\\n"}) {
    EXPECT_EQ(field_of("Definition", std::string(R"({"image":"x","name":")") + bad + "\"}"), "name") << bad;
  }
  EXPECT_EQ(field_of("Definition", R"({"image":"x","name":")" + std::string(64, 'a') + "\"}"), "");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","name":")" + std::string(65, 'a') + "\"}"), "name");
}

TEST(Schema, LengthsAreCharacters) {
  std::string value;
  for (int i = 0; i < 256; i++) value += "ä";
  EXPECT_EQ(field_of("Definition", R"({"image":"x","labels":{"a":")" + value + "\"}}"), "");
  EXPECT_EQ(field_of("Definition", R"({"image":"x","labels":{"a":")" + value + "x\"}}"), "labels.a");
}

TEST(ReadJson, RefusesWhatIsTooDeepTooLargeOrTwiceThere) {
  EXPECT_TRUE(read_json(std::string(30, '[') + std::string(30, ']')));
  EXPECT_FALSE(read_json(std::string(40, '[') + std::string(40, ']')));
  EXPECT_FALSE(read_json(std::string(2'000'000, '[')));
  std::string many = "[0";
  for (int i = 0; i < 300'000; i++) many += ",0";
  EXPECT_FALSE(read_json(many + "]"));
  EXPECT_FALSE(read_json(R"({"a":1,"a":2})"));
  EXPECT_TRUE(read_json(R"({"a":{"a":1},"b":{"a":2}})"));
  for (const char* bad : {"", "{", "nul", "{\"a\":}", "\"\xff\"", "[1,]", "NaN", "1e999", "{} x", "'a'"}) EXPECT_FALSE(read_json(bad)) << bad;
}

TEST(Parameters, AreReadByTheirSchema) {
  const OperationSpec& logs = *document().find("getLogs");
  const Parameter& tail = *logs.find(Parameter::In::query, "tail");
  EXPECT_EQ(read_parameter(document(), tail, {"5"}).value(), Json(5));
  for (const char* bad : {"", "-1", "x", "5x", " 5", "1.0", "0x5", "99999999999999999999", "1000001"}) {
    EXPECT_FALSE(read_parameter(document(), tail, {bad})) << bad;
  }
  EXPECT_FALSE(read_parameter(document(), tail, {"5", "6"}));
  const Parameter& follow = *logs.find(Parameter::In::query, "follow");
  EXPECT_EQ(read_parameter(document(), follow, {"true"}).value(), Json(true));
  EXPECT_FALSE(read_parameter(document(), follow, {"1"}));
  const Parameter& command = *document().find("openExec")->find(Parameter::In::query, "command");
  EXPECT_EQ(read_parameter(document(), command, {"ls", "-l"}).value().dump(), R"(["ls","-l"])");
}

TEST(Document, RefusesSchemasItDoesNotUnderstand) {
  const std::string text(document_text());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    const std::size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos);
    return Document::parse(changed.replace(at, from.size(), to));
  };
  EXPECT_FALSE(with("\"maxProperties\": 64", "\"propertyNames\": 64"));
  EXPECT_FALSE(with("type: string, enum: [vm, container]", "type: [string, null]"));
  EXPECT_FALSE(with("x-role: viewer", "x-role: guest"));
  EXPECT_FALSE(with("x-scope: shared", "x-scope: nobody"));
  EXPECT_FALSE(with("operationId: listDomains", "operationId: getInfo"));
  EXPECT_FALSE(with("#/components/schemas/Info\"", "#/components/schemas/Nothing\""))
      << "a reference that leads nowhere";
}

TEST(Text, Utf8) {
  for (const char* good : {"", "a", "ä", "€", "𝄞"}) EXPECT_TRUE(valid_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) EXPECT_FALSE(valid_utf8(bad));
  EXPECT_EQ(characters("aä€𝄞"), 4u);
}

TEST(Text, Times) {
  EXPECT_EQ(parse_time("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_time("2026-01-31T12:00:00+02:00"), parse_time("2026-01-31T10:00:00Z"));
  EXPECT_EQ(time_text(*parse_time("2026-01-31T12:34:56Z")), "2026-01-31T12:34:56Z");
  for (const char* bad : {"", "2026-01-31", "2026-13-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:00:00", "2026-01-31T12:00:00.Z"}) {
    EXPECT_FALSE(parse_time(bad)) << bad;
  }
}

}  // namespace
}  // namespace nagaya::api
