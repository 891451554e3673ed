"""What our charts share: figures of their own, colours, the room for labels."""
