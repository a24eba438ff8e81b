//! `layers --tree`: which layer lies on which.

/// A layer as the tree shows it.
pub(crate) struct Node {
    /// Id of the parent, or `(base)`.
    pub(crate) parent: String,
    /// Its id.
    pub(crate) id: String,
    /// Lines below it.
    pub(crate) notes: Vec<String>,
}

/// The lines of the trees that `nodes` form, each headed by a parent that is no node itself.
pub(crate) fn lines(mut nodes: Vec<Node>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(root) = root(&nodes) {
        lines.push(root.clone());
        // Layers still to draw, the next one last: node, whether it is its parent's last child, and the stems on its left.
        let mut pending = Vec::new();
        push_children(&mut pending, &mut nodes, &root, "");
        while let Some((node, last, stems)) = pending.pop() {
            let (header, beside) = if last { ('└', ' ') } else { ('├', '│') };
            lines.push(format!("{stems}{header}─{}", node.id));
            lines.extend(node.notes.iter().map(|note| format!("{stems}{beside} {note}")));
            push_children(&mut pending, &mut nodes, &node.id, &format!("{stems}{beside} "));
        }
    }
    lines
}

/// The parent with the fewest children among those that are no nodes; where parents go in a circle, the first of them.
fn root(nodes: &[Node]) -> Option<String> {
    let children = |parent: &str| nodes.iter().filter(|node| node.parent == parent).count();
    nodes
        .iter()
        .map(|node| &node.parent)
        .filter(|parent| nodes.iter().all(|node| node.id != **parent))
        .min_by_key(|parent| children(parent))
        .or_else(|| nodes.first().map(|node| &node.parent))
        .cloned()
}

/// Moves the children of `parent` out of `nodes`.
fn push_children(
    pending: &mut Vec<(Node, bool, String)>,
    nodes: &mut Vec<Node>,
    parent: &str,
    stems: &str,
) {
    let children = nodes.extract_if(.., |node| node.parent == parent).collect::<Vec<_>>();
    for (index, node) in children.into_iter().rev().enumerate() {
        pending.push((node, index == 0, stems.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(parent: &str, id: &str, notes: &[&str]) -> Node {
        Node {
            parent: parent.to_owned(),
            id: id.to_owned(),
            notes: notes.iter().map(|&note| note.to_owned()).collect(),
        }
    }

    #[test]
    fn draws_what_lies_on_what() {
        let nodes = vec![
            node("(base)", "a", &["name: x"]),
            node("a", "b", &["image: i"]),
            node("(base)", "z", &[]),
            node("a", "c", &["container: k"]),
            node("b", "d", &[]),
        ];
        let expected = [
            "(base)",
            "├─a",
            "│ name: x",
            "│ ├─b",
            "│ │ image: i",
            "│ │ └─d",
            "│ └─c",
            "│   container: k",
            "└─z",
        ];
        assert_eq!(lines(nodes), expected);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(lines(vec![node("b", "a", &[]), node("a", "b", &[])]).len(), 3);
    }
}
