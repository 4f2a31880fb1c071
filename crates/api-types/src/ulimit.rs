//! Limits of processes as they are typed.

use crate::Ulimit;

impl Ulimit {
    /// Reads `name=soft[:hard]`, the value of `--ulimit`; -1 is none.
    ///
    /// # Errors
    /// Docker's words.
    pub fn parse(text: &str) -> Result<Ulimit, String> {
        let invalid = || format!("invalid ulimit argument: {text}");
        let (name, limits) = text.split_once('=').ok_or_else(invalid)?;
        const NAMES: [&str; 16] = [
            "core",
            "cpu",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nofile",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
            "as",
        ];
        if !NAMES.contains(&name) {
            return Err(format!("invalid ulimit type: {name}"));
        }
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        };
        let parts: Vec<_> = limits.split(':').collect();
        let [soft, hard] = match parts.as_slice() {
            [both] => [number(both)?; 2],
            [soft, hard] => [number(soft)?, number(hard)?],
            _ => {
                return Err(format!(
                    "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
                ));
            }
        };
        if hard != -1 && (soft == -1 || soft > hard) {
            let shown = if soft == -1 {
                format!("soft: -1 (unlimited), hard: {hard}")
            } else {
                format!("{soft} > {hard}")
            };
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {shown}"
            ));
        }
        Ok(Ulimit {
            name: name.to_owned(),
            soft,
            hard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        assert_eq!(
            Ulimit::parse("nofile=10:20"),
            Ok(Ulimit {
                name: "nofile".to_owned(),
                soft: 10,
                hard: 20
            })
        );
        assert_eq!(Ulimit::parse("core=-1").unwrap().hard, -1);
        assert_eq!(
            Ulimit::parse("x"),
            Err("invalid ulimit argument: x".to_owned())
        );
        assert!(Ulimit::parse("nofile=20:10").is_err() && Ulimit::parse("what=1").is_err());
    }
}
