// What programs do by way of JDBC. Arguments: the URL of a gateway. Fails with an exception.

import java.math.BigDecimal;
import java.sql.*;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

public class Jdbc {
    static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) {
            throw new AssertionError("found " + found + ", wanted " + wanted);
        }
    }

    /** Some columns of all rows, joined by colons; NULL is the word `null`. */
    static List<String> rows(ResultSet found, String... columns) throws SQLException {
        List<String> rows = new ArrayList<>();
        while (found.next()) {
            List<String> row = new ArrayList<>();
            for (String column : columns) {
                row.add(found.getString(column));
            }
            rows.add(String.join(":", row));
        }
        return rows;
    }

    interface Attempt {
        void run() throws SQLException;
    }

    static void refused(int code, Attempt attempt) {
        try {
            attempt.run();
        } catch (SQLException error) {
            same(error.getErrorCode(), code);
            return;
        }
        throw new AssertionError("error " + code + " was expected");
    }

    static void values(Connection connection) throws SQLException {
        PreparedStatement insert = connection.prepareStatement(
            "INSERT INTO items (name, price, at, ts, d, tm, flag, data, dbl, si) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            Statement.RETURN_GENERATED_KEYS);
        Timestamp moment = Timestamp.valueOf("2024-02-29 12:34:56.123456");
        insert.setString(1, "ännä");
        insert.setBigDecimal(2, new BigDecimal("12.34"));
        insert.setTimestamp(3, Timestamp.valueOf("2024-02-29 12:34:56.789"));
        insert.setTimestamp(4, moment);
        insert.setDate(5, Date.valueOf("2024-02-29"));
        insert.setTime(6, Time.valueOf("11:22:33"));
        insert.setBoolean(7, true);
        insert.setBytes(8, new byte[] {0, 1, (byte) 255, 39, 92});
        insert.setDouble(9, 1.5e300);
        insert.setInt(10, 65_535);
        same(insert.executeUpdate(), 1);
        ResultSet keys = insert.getGeneratedKeys();
        keys.next();
        long key = keys.getLong(1);
        PreparedStatement select = connection.prepareStatement("SELECT * FROM items WHERE id = ?");
        select.setLong(1, key);
        ResultSet row = select.executeQuery();
        row.next();
        same(row.getString("name"), "ännä");
        same(row.getBigDecimal("price"), new BigDecimal("12.34"));
        same(row.getTimestamp("at"), Timestamp.valueOf("2024-02-29 12:34:56.789"));
        same(row.getTimestamp("ts"), moment);
        same(row.getDate("d"), Date.valueOf("2024-02-29"));
        same(row.getTime("tm"), Time.valueOf("11:22:33"));
        same(row.getBoolean("flag"), true);
        same(row.getBytes("data").length, 5);
        same(row.getDouble("dbl"), 1.5e300);
        same(row.getInt("si"), 65_535);
        same(row.getMetaData().isAutoIncrement(1), true);
        same(row.getMetaData().getTableName(1), "items");
        insert.setNull(3, Types.TIMESTAMP);
        insert.setString(1, "nobody");
        same(insert.executeUpdate(), 1);
        ResultSet without = connection.createStatement().executeQuery("SELECT at FROM items WHERE name = 'nobody'");
        without.next();
        same(without.getTimestamp(1), null);
    }

    static void batches(Connection connection) throws SQLException {
        PreparedStatement insert =
            connection.prepareStatement("INSERT INTO items (name, si) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS);
        for (int number = 0; number < 300; number++) {
            insert.setString(1, "n" + number);
            insert.setInt(2, number);
            insert.addBatch();
        }
        same(insert.executeBatch().length, 300);
        ResultSet keys = insert.getGeneratedKeys();
        int count = 0;
        while (keys.next()) {
            count++;
        }
        same(count, 300);
    }

    static void bounds(Connection connection) throws SQLException {
        Statement statement = connection.createStatement();
        statement.setMaxRows(7);
        same(rows(statement.executeQuery("SELECT id FROM items"), "id").size(), 7);
        statement.setMaxRows(0);
        statement.setFetchSize(10);
        same(rows(statement.executeQuery("SELECT id FROM items WHERE name LIKE 'n_%'"), "id").size() >= 300, true);
    }

    static void transactions(Connection connection) throws SQLException {
        Statement statement = connection.createStatement();
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        same(connection.getTransactionIsolation(), Connection.TRANSACTION_READ_COMMITTED);
        connection.setAutoCommit(false);
        for (boolean commits : new boolean[] {false, true}) {
            same(statement.executeUpdate("UPDATE items SET price = 5 WHERE name = 'n3'"), 1);
            if (commits) {
                connection.commit();
            } else {
                connection.rollback();
            }
            ResultSet found = statement.executeQuery("SELECT price FROM items WHERE name = 'n3'");
            same(rows(found, "price").get(0), commits ? "5.00" : "null");
        }
        java.sql.Savepoint here = connection.setSavepoint("here");
        same(statement.executeUpdate("UPDATE items SET price = 6 WHERE name = 'n3'"), 1);
        connection.rollback(here);
        connection.releaseSavepoint(here);
        ResultSet found = statement.executeQuery("SELECT price FROM items WHERE name = 'n3'");
        same(rows(found, "price").get(0), "5.00");
        connection.rollback();
        connection.setAutoCommit(true);
        refused(1062, () -> statement.executeUpdate("INSERT INTO items (id, name) VALUES (1, 'again')"));
        refused(1064, () -> statement.executeUpdate("SELEC 1"));
        statement.addBatch("UPDATE items SET price = 1 WHERE name = 'n4'");
        statement.addBatch("INSERT INTO items (id, name) VALUES (1, 'again')");
        refused(1062, statement::executeBatch);
    }

    static void changes_of_results(Connection connection) throws SQLException {
        Statement statement =
            connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet found = statement.executeQuery("SELECT id, name, price FROM items WHERE name = 'n5'");
        found.next();
        found.updateBigDecimal("price", new BigDecimal("77.70"));
        found.updateRow();
        found = statement.executeQuery("SELECT price FROM items WHERE name = 'n5'");
        same(rows(found, "price"), List.of("77.70"));
    }

    static void descriptions(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        same(rows(data.getTables("jdbc", null, "%", new String[] {"TABLE"}), "TABLE_NAME"), List.of("items"));
        List<String> columns = rows(data.getColumns("jdbc", null, "items", "%"), "COLUMN_NAME", "TYPE_NAME", "IS_NULLABLE");
        same(columns.get(0), "id:BIGINT:NO");
        same(columns.size(), 11);
        same(rows(data.getPrimaryKeys("jdbc", null, "items"), "COLUMN_NAME"), List.of("id"));
        List<String> indexes = rows(data.getIndexInfo("jdbc", null, "items", false, true), "INDEX_NAME", "COLUMN_NAME");
        same(indexes, List.of("PRIMARY:id", "un:name", "un:si", "pr:price"));
        same(rows(data.getCatalogs(), "TABLE_CAT").contains("jdbc"), true);
        for (ResultSet none : new ResultSet[] {
            data.getImportedKeys("jdbc", null, "items"), data.getExportedKeys("jdbc", null, "items"),
            data.getProcedures("jdbc", null, "%"), data.getFunctions("jdbc", null, "%"),
            data.getTablePrivileges("jdbc", null, "items")}) {
            same(none.next(), false);
        }
    }

    static void ways_to_connect(String url) throws SQLException {
        try (Connection connection = DriverManager.getConnection(url + "&useServerPrepStmts=true&useCompression=true")) {
            PreparedStatement select = connection.prepareStatement("SELECT * FROM items WHERE id = ? OR name = ?");
            same(select.getParameterMetaData().getParameterCount(), 2);
            for (int time = 0; time < 5; time++) {
                select.setLong(1, 1);
                select.setString(2, "n7");
                same(rows(select.executeQuery(), "name").size(), 2);
            }
        }
        try (Connection connection =
            DriverManager.getConnection(url + "&rewriteBatchedStatements=true&allowMultiQueries=true")) {
            PreparedStatement insert = connection.prepareStatement("INSERT INTO items (name, si) VALUES (?, ?)");
            for (int number = 0; number < 2_000; number++) {
                insert.setString(1, "rewritten");
                insert.setInt(2, number);
                insert.addBatch();
            }
            same(insert.executeBatch().length, 2_000);
            Statement several = connection.createStatement();
            several.execute("SELECT 1; UPDATE items SET price = 3 WHERE name = 'n4'; SELECT 2");
            same(several.getMoreResults(), false);
            same(several.getUpdateCount(), 1);
            same(several.getMoreResults(), true);
        }
    }

    public static void main(String[] arguments) throws SQLException {
        try (Connection connection = DriverManager.getConnection(arguments[0])) {
            Statement statement = connection.createStatement();
            statement.execute("CREATE DATABASE jdbc");
            connection.setCatalog("jdbc");
            statement.execute(
                "CREATE TABLE items (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL, price DECIMAL(10,2), "
                    + "at DATETIME(3), ts TIMESTAMP(6) NULL, d DATE, tm TIME, flag BOOLEAN, data VARBINARY(100), dbl DOUBLE, "
                    + "si SMALLINT UNSIGNED, UNIQUE KEY un (name, si), KEY pr (price))");
            values(connection);
            batches(connection);
            bounds(connection);
            transactions(connection);
            changes_of_results(connection);
            descriptions(connection);
            ways_to_connect(arguments[0].replace("/default", "/jdbc"));
            same(connection.isValid(2), true);
        }
        System.out.println("all is well");
    }
}
