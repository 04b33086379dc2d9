//! Tables in Markdown, aligned for a terminal: numbers to the right, text to the left.

/// A table.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With the names of its columns.
    pub fn new<'a>(header: impl IntoIterator<Item = &'a str>) -> Self {
        Self { rows: vec![header.into_iter().map(str::to_owned).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text.
    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0).max(3))
            .collect();
        let is_number = |cell: &String| cell.starts_with(|first: char| first.is_ascii_digit());
        // The first column names the rows, even if by a number.
        let numbers: Vec<bool> =
            (0..columns).map(|column| column > 0 && cells(column).skip(1).all(is_number)).collect();
        let mut text = String::new();
        for (position, row) in self.rows.iter().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                text += &if numbers[column] {
                    format!("| {cell:>width$} ")
                } else {
                    format!("| {cell:<width$} ")
                };
            }
            text += "|\n";
            if position == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    text += &format!("|{}{}", "-".repeat(width + 1), if numbers[column] { ":" } else { "-" });
                }
                text += "|\n";
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["name", "n", "why"]);
        table.row(["a".into(), "1000".into(), "none".into()]);
        assert_eq!(
            table.render(),
            "| name |    n | why  |\n|------|-----:|------|\n| a    | 1000 | none |\n"
        );
    }
}
